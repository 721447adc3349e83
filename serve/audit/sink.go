package audit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"bakehouse/schema/fault"
)

// Syslog is what --audit-log calls the machine's syslog or journal.
const Syslog = "syslog"

// devLog is where syslog daemons and systemd's journal listen.
const devLog = "/dev/log"

// Target is where lines go besides the inventory: a file, or the machine's syslog.
type Target struct {
	name string

	mu   sync.Mutex
	file *os.File
	conn net.Conn
}

// Open opens a file to append to, made if absent, or the syslog.
func Open(name string) (*Target, error) {
	t := &Target{name: name}
	if err := t.Reopen(); err != nil {
		return nil, fault.Hint(fmt.Errorf("audit log %s: %w", name, err),
			"set --audit-log to a file in an existing directory that this user may write to, or to %s", Syslog)
	}
	return t, nil
}

// Reopen opens the file by its name again: it may have been moved away to start a new one.
func (t *Target) Reopen() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.name == Syslog {
		return t.dial()
	}
	f, err := os.OpenFile(t.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return errors.Unwrap(err)
	}
	if t.file != nil {
		_ = t.file.Close() // each line was written by itself
	}
	t.file = f
	return nil
}

func (t *Target) dial() error {
	c, err := net.Dial("unixgram", devLog)
	if err != nil {
		return err
	}
	if t.conn != nil {
		_ = t.conn.Close()
	}
	t.conn = c
	return nil
}

// priority of authpriv.info.
const priority = 10<<3 | 6

// Write writes one line.
func (t *Target) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.name != Syslog {
		return t.file.Write(line)
	}
	message := fmt.Appendf(nil, "<%d>bakehouse-audit: %s", priority, line[:len(line)-1])
	_, err := t.conn.Write(message)
	if err != nil { // the daemon was started again
		if err = t.dial(); err == nil {
			_, err = t.conn.Write(message)
		}
	}
	return len(line), err
}

// Close ends it.
func (t *Target) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		return t.conn.Close()
	}
	return t.file.Close()
}
