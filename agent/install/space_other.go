//go:build !(darwin || freebsd || linux)

package install

func checkSpace(string, int64) error { return nil }
