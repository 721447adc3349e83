package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"time"

	"bakehouse/schema/fleet"
)

// ErrExceeded is that evaluation exceeded its limits.
var ErrExceeded = errors.New("limits exceeded")

// exceeded is ErrExceeded, in words.
type exceeded string

func (e exceeded) Error() string { return string(e) }

func (e exceeded) Is(target error) bool { return target == ErrExceeded }

// Limits bound what hostile files can cost. CUE cannot be interrupted, so what exceeds Time or Memory is left running
// in its goroutine and the caller gives up: right for a process that then ends, as those of confine do.
type Limits struct {
	Time   time.Duration // per directory or evaluation
	Memory uint64        // heap of the whole process, in bytes
	Nodes  int           // values in a directory
	Uses   int           // evaluations in a context of CUE, which only grows
}

// DefaultLimits are those of the commands.
var DefaultLimits = Limits{Time: 30 * time.Second, Memory: 2 << 30, Nodes: 4 << 20, Uses: 2000}

// bounded runs work, gives up on it when it exceeds the limits, and turns its panics into errors.
func (l Limits) bounded(ctx context.Context, work func()) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- exceeded("CUE fails on it: " + fleet.WithoutValues(fmt.Sprint(r)))
			}
		}()
		work()
		done <- nil
	}()
	deadline := time.NewTimer(l.Time)
	defer deadline.Stop()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("evaluation stopped: %w", context.Cause(ctx))
		case <-deadline.C:
			return exceeded(fmt.Sprintf("evaluation takes longer than %s", l.Time))
		case <-tick.C:
			if heap() > l.Memory {
				return exceeded(fmt.Sprintf("evaluation takes more than %d MB of memory", l.Memory>>20))
			}
		}
	}
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
