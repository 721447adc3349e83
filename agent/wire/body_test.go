package wire

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

// leaving is a trickle whose server ends it in order as soon as the host gives up.
type leaving struct{ trickle }

func (l leaving) Read(p []byte) (int, error) {
	n, err := l.trickle.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

func TestAnAnswerThatTricklesIsEndedBeforeItIsWhole(t *testing.T) {
	for name, c := range map[string]struct{ every, ended time.Duration }{
		"nothing comes": {time.Hour, 30 * time.Second},
		// Never silent for long enough to count as stalled: 1 MB at the slowest rate that is put up with, and a minute.
		"a byte every ten seconds": {10 * time.Second, time.Minute + 1024*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			for _, leaves := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancelCause(t.Context())
					began := time.Now()
					var body io.ReadCloser = trickle{ctx, c.every}
					if leaves {
						body = leaving{trickle{ctx, c.every}}
					}
					b := guard(ctx, cancel, body, new(atomic.Int64), stallLimit, 2*stallLimit+1<<20/slowestRate*time.Second)
					defer b.Close()
					_, err := io.ReadAll(b)
					if took := time.Since(began); !errors.Is(err, errStalled) || !errors.Is(err, ErrUnreachable) || took != c.ended {
						t.Errorf("%T: %v after %s", body, err, took)
					}
				})
			}
		})
	}
}
