//go:build !windows

package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"bakehouse/schema/fault"
)

const said = `polled https://bakehouse.example: nothing new
bakehouse-agent: warning: the clock is late
bakehouse-agent: error: package 1234: key ops ignored
No valid signature found
bakehouse-agent: hint: sign it
error: update failed
critical: held for 8 days
{"error":"no","hint":"ask"}
`

func TestUnderSystemdEachLineHasItsPriority(t *testing.T) {
	var out bytes.Buffer
	g := &graded{to: &out, journal: true, log: func(int, string) { t.Error("it is sent to syslog besides") }}
	if n, err := g.Write([]byte(said)); err != nil || n != len(said) {
		t.Fatal(n, err)
	}
	want := "<6>polled https://bakehouse.example: nothing new\n<4>bakehouse-agent: warning: the clock is late\n" +
		"<3>bakehouse-agent: error: package 1234: key ops ignored\n<3>No valid signature found\n" +
		"<6>bakehouse-agent: hint: sign it\n<3>error: update failed\n<2>critical: held for 8 days\n" +
		`<3>{"error":"no","hint":"ask"}` + "\n"
	if out.String() != want {
		t.Errorf("%s", &out)
	}
}

func TestWarningsAndErrorsOfACommandGoToSyslogToo(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there are other ways to syslog elsewhere
	}
	dir, err := os.MkdirTemp("", "log") // the names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out bytes.Buffer
	g := &graded{to: &out, log: toSyslog(socket)}
	if _, err := g.Write([]byte(said)); err != nil || out.String() != said {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"<28>.*: warning: the clock is late", "<27>.*: error: package 1234: key ops ignored",
		"<27>.*: No valid signature found", "<27>.*: error: update failed", "<26>.*: critical: held for 8 days"} {
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		stamp := strings.Replace(want, ".*: ", `[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} bakehouse-agent\[[0-9]+\]: `, 1)
		if !regexp.MustCompile("^" + stamp + "$").Match(b[:n]) {
			t.Errorf("%q is not %s", b[:n], stamp)
		}
	}

	// Nobody listens: the command goes on.
	l.Close()
	os.Remove(socket)
	if _, err := g.Write([]byte(said)); err != nil {
		t.Error(err)
	}
}

func TestASandboxAndWhatAsksOnlyWriteNothingToTheSystemsLog(t *testing.T) {
	for line, want := range map[string]bool{
		"update": true, "run": true, "register --force": true, "update --root /x": false, "status": false,
		"show-config": false, "version": false, "diagnose": false,
	} {
		args := strings.Fields(line)
		c := command()
		verb, _, err := c.Find(args)
		if err == nil {
			err = verb.ParseFlags(args[1:])
		}
		if err != nil {
			t.Fatal(err, fault.HintOf(err))
		}
		if got := isLogged(verb); got != want {
			t.Errorf("%s is logged: %v", line, got)
		}
	}
}
