package wire

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

var errStalled = errors.New("the server sends too slowly")

// guardedBody ends a body that stalls or trickles, and counts what is read.
type guardedBody struct {
	body         io.ReadCloser
	ctx          context.Context
	cancel       context.CancelCauseFunc
	maxStall     time.Duration // without a byte
	stall, whole *time.Timer
	count        *atomic.Int64
}

// guard ends body by cancel when it yields nothing for stall, or is not at its end after whole.
func guard(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, count *atomic.Int64,
	stall, whole time.Duration) *guardedBody {
	tooSlow := func() { cancel(errStalled) }
	return &guardedBody{body: body, ctx: ctx, cancel: cancel, maxStall: stall, count: count,
		stall: time.AfterFunc(stall, tooSlow), whole: time.AfterFunc(whole, tooSlow)}
}

func (g *guardedBody) Read(p []byte) (int, error) {
	n, err := g.body.Read(p)
	g.count.Add(int64(n))
	if n > 0 {
		g.stall.Reset(g.maxStall)
	}
	// An end that comes after we gave up is none: a server that notices may end its answer in order before we are gone.
	if cause := context.Cause(g.ctx); err != nil && cause != nil {
		return n, &transportError{cause}
	}
	if err != nil && err != io.EOF {
		err = &transportError{err}
	}
	return n, err
}

func (g *guardedBody) Close() error {
	g.stall.Stop()
	g.whole.Stop()
	err := g.body.Close()
	g.cancel(nil)
	return err
}
