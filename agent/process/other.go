//go:build !unix

package process

import (
	"errors"
	"os/exec"
)

// ownGroup leaves c as it is: when its context ends, it alone is killed, without its children.
func ownGroup(*exec.Cmd) {}

func setUser(*exec.Cmd, string, string, []string) error {
	return errors.New("programs run as another user on Unix only")
}
