//go:build !windows

package durable

import (
	"io/fs"
	"os"
)

// Open opens a file for reading, so that it can be replaced meanwhile.
func Open(name string) (*os.File, error) { return os.Open(name) }

func openFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

func mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

func rename(from, name string) error { return os.Rename(from, name) }

func remove(name string) error { return os.Remove(name) }

// RemoveAll removes a path and what is below it; that it is not there is no error.
func RemoveAll(path string) error { return os.RemoveAll(path) }

// tempPerm is what a temporary file is opened with. The umask would take part in anything else.
func tempPerm(fs.FileMode) fs.FileMode { return 0o600 }
