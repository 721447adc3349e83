package agent

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// trickle is a body that yields a byte at each interval, until ctx ends.
type trickle struct {
	ctx   context.Context
	every time.Duration
}

func (t trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(t.every):
		p[0] = 'x'
		return 1, nil
	case <-t.ctx.Done():
		return 0, t.ctx.Err()
	}
}

func (trickle) Close() error { return nil }

func TestAnAnswerThatTricklesIsEndedBeforeItIsWhole(t *testing.T) {
	for name, c := range map[string]struct{ every, ended time.Duration }{
		"nothing comes": {time.Hour, 30 * time.Second},
		// Never silent for long enough to count as stalled: 1 MB at the slowest rate that is put up with, and a minute.
		"a byte every ten seconds": {10 * time.Second, time.Minute + 1024*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				began := time.Now()
				b := guard(ctx, cancel, trickle{ctx, c.every}, new(atomic.Int64), stallLimit, 2*stallLimit+1<<20/slowestRate*time.Second)
				_, err := io.ReadAll(b)
				if took := time.Since(began); !errors.Is(err, errStalled) || !isUnreachable(err) || took != c.ended {
					t.Errorf("%v after %s", err, took)
				}
				b.Close()
			})
		})
	}
}
