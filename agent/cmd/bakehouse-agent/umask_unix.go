//go:build unix

package main

import "syscall"

// umask sets the mode bits that new files do not get.
func umask(bits int) { syscall.Umask(bits) }
