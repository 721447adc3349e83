//go:build !unix

package listing

import "io/fs"

func owner(fs.FileInfo) string { return "-" }
