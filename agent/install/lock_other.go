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
	return nil, fmt.Errorf("debs are installed on Linux, this is %s", runtime.GOOS)
}
