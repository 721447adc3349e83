//go:build !linux

package install

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"
)

func (s *System) lockDpkg(context.Context, time.Duration) (io.Closer, error) {
	return nil, fmt.Errorf("debs can be installed on Linux only, not on %s", runtime.GOOS)
}
