package contact

import (
	"context"
	"errors"
	"time"

	"bakehouse/agent/state"
	"bakehouse/agent/wire"
)

// tellTimeout bounds each attempt: whoever unregisters a host may be about to switch it off.
const tellTimeout = 10 * time.Second

// Tell tells the first server that answers that the host is registered no more, and returns why none was told.
func Tell(ctx context.Context, ways []state.Way, dial func(state.Way) (*wire.Client, error)) error {
	err := errors.New("no server is known")
	for _, way := range ways {
		var c *wire.Client
		if c, err = dial(way); err != nil {
			continue
		}
		at, cancel := context.WithTimeout(ctx, tellTimeout)
		err = c.Unregister(at)
		cancel()
		c.Close()
		if err == nil || !errors.Is(err, wire.ErrUnreachable) {
			return err
		}
	}
	return err
}
