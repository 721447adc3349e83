//go:build windows

// The plugin of the tests on Windows: a service that runs, or one that does not start, and a program that just runs.
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/windows/svc"
)

// bytes differ from plugin to plugin.
var bytes = "0"

type service struct{}

func (service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop}
	for r := range requests {
		status <- r.CurrentStatus
		if r.Cmd == svc.Stop {
			break
		}
	}
	return false, 0
}

func main() {
	switch os.Args[1] {
	case "serve":
		if err := svc.Run("acme", service{}); err != nil {
			os.Exit(1)
		}
	case "broken":
		os.Exit(1)
	case "sleep":
		fmt.Println("asleep")
		time.Sleep(time.Hour)
	case "sick":
		os.Exit(1)
	default:
		fmt.Println(bytes)
	}
}
