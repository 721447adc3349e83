package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
)

// memory is a store that fails if it is told to.
type memory struct {
	events []inventory.Event
	err    error
}

func (m *memory) Append(_ context.Context, events ...inventory.Event) error {
	if m.err == nil {
		m.events = append(m.events, events...)
	}
	return m.err
}

func (m *memory) Events(context.Context, time.Time, int) ([]inventory.Event, error) {
	return m.events, nil
}

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func TestFailuresAreSummedUpSoThatStrangersDoNotFillTheLog(t *testing.T) {
	m := &memory{}
	l := New(m, nil, slog.New(slog.DiscardHandler))
	fail := func(at time.Duration, who, from string) {
		l.Sum(t.Context(), Failed, inventory.Event{At: t0.Add(at), Who: who, From: from})
	}
	for i := range 1000 {
		fail(time.Duration(i)*time.Millisecond, "ops", "192.0.2.1")
	}
	if len(m.events) != 1 || m.events[0].Count != 0 {
		t.Fatalf("1000 of one are %+v", m.events)
	}
	fail(failureEvery+time.Second, "ops", "192.0.2.1")
	if len(m.events) != 2 || m.events[1].Count != 1000 {
		t.Errorf("later: %+v", m.events)
	}
	m.events = nil
	for i := range 3 * maxFailures {
		fail(time.Hour, "ops", fmt.Sprint("address ", i))
	}
	if len(m.events) != failureMinute || len(l.failed) > maxFailures {
		t.Errorf("a minute of many addresses is %d lines, %d are remembered", len(m.events), len(l.failed))
	}
}

func TestEachEventIsALineOfJSONAlsoIfTheInventoryFails(t *testing.T) {
	var log bytes.Buffer
	m := &memory{err: errors.New("disk full")}
	file := filepath.Join(t.TempDir(), "audit.log")
	target, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	l := New(m, target, slog.New(slog.NewTextHandler(&log, nil)))
	record := func(host string) {
		l.Record(t.Context(), inventory.Event{At: t0, What: Registered, Who: "ops\n{", Host: host})
	}
	record("web01")
	if !strings.Contains(log.String(), "disk full") {
		t.Errorf("the server's log: %s", &log)
	}
	// Rotated.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	record("web02")
	l.Reopen()
	record("web03")
	for name, hosts := range map[string][]string{file + ".1": {"web01", "web02"}, file: {"web03"}} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		if len(lines) != len(hosts) {
			t.Fatalf("%s: %q", name, b)
		}
		for i, line := range lines {
			var e inventory.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Host != hosts[i] || !e.At.Equal(t0) {
				t.Errorf("%s: %s, %v", name, line, err)
			}
		}
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm()&0o007 != 0 {
		t.Errorf("others may read it: %v, %v", st.Mode(), err)
	}
}

func TestAnAuditLogThatCannotBeOpenedIsOneErrorWithAHint(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "no", "audit.log"))
	if err == nil || !strings.Contains(err.Error(), "no such file") ||
		!strings.Contains(fault.HintOf(err), "--audit-log") {
		t.Errorf("%v, %q", err, fault.HintOf(err))
	}
}
