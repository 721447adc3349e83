// Package pace is when a host asks: at intervals, but never in step with others.
package pace

import (
	"context"
	"math/rand/v2"
	"os"
	"time"
)

// DueIn is how long to wait for the next check: an interval after the last, give or take a tenth so that hosts do not
// ask in step; at once, within a tenth of the interval and a minute at most, if it is overdue or the clock was set
// back.
func DueIn(now, last time.Time, interval time.Duration) time.Duration {
	left := last.Add(Jitter(interval)).Sub(now)
	if left <= 0 || left > 2*interval {
		return rand.N(min(interval/10, time.Minute) + 1)
	}
	return left
}

// Jitter is about d, give or take a tenth.
func Jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// Wait ends after d, or when somebody asks for a check, or with the error of ctx.
func Wait(ctx context.Context, d time.Duration, check <-chan os.Signal) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-check:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
