package services

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

//go:embed scripts/launchd.sh
var launchdShell string

// launchdDir is where packages have property lists. They are copied to where launchd looks.
var launchdDir = schema.Prefix("darwin") + "/lib/bakehouse/launchd/"

// plist collects a property list (launchd.plist(5)).
type plist struct{ b strings.Builder }

func (p *plist) key(name, value string) { fmt.Fprintf(&p.b, "\t<key>%s</key>\n\t%s\n", name, value) }

func stringOf(s string) string { return "<string>" + text(s) + "</string>" }

func integer(n int64) string { return fmt.Sprintf("<integer>%d</integer>", n) }

func (p *plist) unit(plugin, label string) Unit {
	return Unit{Name: label, Path: launchdDir + label + ".plist", Text: `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Baked by Bakehouse from plugin ` + plugin + `. The next package replaces it. -->
<plist version="1.0">
<dict>
` + p.b.String() + "</dict>\n</plist>\n"}
}

func newPlist(label, user, command string) *plist {
	p := &plist{}
	p.key("Label", stringOf(label))
	p.key("ProgramArguments", "<array>"+stringOf("/bin/sh")+stringOf("-c")+stringOf(command)+"</array>")
	if user != "" {
		p.key("UserName", stringOf(user))
	}
	return p
}

func launchdService(name, plugin string, s fleet.Service, command string) (Unit, error) {
	label := "bakehouse." + name
	p := newPlist(label, s.User, command)
	if len(s.Listen) > 0 {
		var all strings.Builder
		for _, at := range s.Listen {
			where, err := socket(at)
			if err != nil {
				return Unit{}, err
			}
			all.WriteString("<dict>" + where + "</dict>")
		}
		p.key("inetdCompatibility", "<dict><key>Wait</key><false/></dict>")
		p.key("Sockets", "<dict><key>Listeners</key><array>"+all.String()+"</array></dict>")
		return p.unit(plugin, label), nil
	}
	p.key("RunAtLoad", "<true/>")
	switch s.Restart {
	case "always":
		p.key("KeepAlive", "<true/>")
	case "on-failure":
		p.key("KeepAlive", "<dict><key>SuccessfulExit</key><false/></dict>")
	}
	p.key("ThrottleInterval", integer(5))
	p.key("ExitTimeOut", integer(int64(stopLimit(plugin))))
	return p.unit(plugin, label), nil
}

// socket is where launchd listens: a port, an address and a port, or a path.
func socket(at string) (string, error) {
	if strings.HasPrefix(at, "/") {
		return "<key>SockPathName</key>" + stringOf(at), nil
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		host, port = "", at
	}
	if strings.ContainsAny(port, "/:@%[]") {
		return "", errors.New("launchd does not listen at " + at)
	}
	where := "<key>SockServiceName</key>" + stringOf(port)
	if host != "" {
		where = "<key>SockNodeName</key>" + stringOf(host) + where
	}
	return where, nil
}

func launchdInterval(name, plugin string, i fleet.Interval, command string) (Unit, error) {
	label := "bakehouse." + name
	p := newPlist(label, i.User, command)
	p.key("RunAtLoad", "<true/>")
	p.key("StartInterval", integer(seconds(i.Every)))
	return p.unit(plugin, label), nil
}
