package main

import (
	"strings"

	"golang.org/x/sys/windows/svc/eventlog"
)

// eventSource is the one that packages register.
const eventSource = "Bakehouse"

// Ids of events. EventCreate.exe, whose texts the source has, knows those from 1 to 1000.
const (
	eventError   = 1
	eventWarning = 2
	eventOther   = 3
)

// toSystemLog sends lines to the event log of applications, an event each.
func toSystemLog() func(priority int, line string) {
	return func(priority int, line string) {
		l, err := eventlog.Open(eventSource)
		if err != nil {
			return
		}
		defer l.Close()
		line = strings.ReplaceAll(strings.TrimPrefix(line, "bakehouse-agent: "), "\x00", "")
		switch {
		case priority <= failure:
			_ = l.Error(eventError, line)
		case priority == warning:
			_ = l.Warning(eventWarning, line)
		default:
			_ = l.Info(eventOther, line)
		}
	}
}
