//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package walk

import (
	"errors"
	"os"
)

func link(*os.Root, string, *os.Root, string) error { return errors.ErrUnsupported }
