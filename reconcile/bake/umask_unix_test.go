//go:build unix

package bake_test

import "syscall"

func setUmask(mask int) int { return syscall.Umask(mask) }
