//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// asNobody has c run as the user nobody.
func asNobody(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
