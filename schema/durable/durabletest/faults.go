// Package durabletest holds disks that go wrong, for tests of what is built on durable: Faults fails a chosen system
// call, PowerCut tells what would be left had the machine died.
package durabletest

import (
	"strings"
	"sync"
	"syscall"

	"bakehouse/schema/durable"
)

// Mode says how a call fails.
type Mode int

const (
	Before Mode = iota // nothing happened
	After              // it took effect and failed all the same
	Dead               // nothing happened, and so it is with every later call
)

// Modes are all of them.
var Modes = []Mode{Before, After, Dead}

func (m Mode) String() string {
	return [...]string{"failed", "failed but persisted", "failed for good"}[m]
}

// Faults fails the call number At, counted from 0; below 0 none fails. It does not really sync, which takes most of the
// time and changes nothing that a test could see. It is safe for concurrent use.
type Faults struct {
	At   int
	Mode Mode
	Err  error // default EIO

	mu    sync.Mutex
	calls []durable.Call
}

// Disk is the real disk with the fault in it.
func (f *Faults) Disk() durable.Disk {
	return durable.Disk{Around: func(c durable.Call, do func() error) error {
		f.mu.Lock()
		n := len(f.calls)
		f.calls = append(f.calls, c)
		f.mu.Unlock()
		err := f.Err
		if err == nil {
			err = syscall.EIO
		}
		if strings.HasPrefix(c.Name, "fsync") {
			do = func() error { return nil }
		}
		switch {
		case f.At < 0 || n < f.At || n > f.At && f.Mode != Dead:
			return do()
		case f.Mode == After:
			_ = do() // it may say that there was nothing to do, as mkdir of an existing directory; that is lost too
		}
		return err
	}}
}

// Calls lists the calls made so far.
func (f *Faults) Calls() []durable.Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]durable.Call(nil), f.calls...)
}

// Hit is the call that failed, if it has come to that.
func (f *Faults) Hit() (c durable.Call, ok bool) {
	calls := f.Calls()
	if f.At < 0 || f.At >= len(calls) {
		return c, false
	}
	return calls[f.At], true
}
