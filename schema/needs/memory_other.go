//go:build !linux

package needs

// Memory does nothing: temporary files are where they always are.
func Memory() {}
