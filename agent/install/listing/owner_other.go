//go:build !unix

package listing

import "io/fs"

func owner(fs.FileInfo) string { return "-" }

func number(fs.FileInfo) uint64 { return 0 }
