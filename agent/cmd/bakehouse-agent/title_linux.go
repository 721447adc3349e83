package main

import (
	"os"
	"strings"
	"unsafe"
)

// clearFromTitle overwrites a secret in the arguments that this process was started with, which everybody on the host
// can read (ps, /proc/PID/cmdline). It returns a copy of it. On Linux, os.Args are that very memory.
func clearFromTitle(secret string) string {
	kept := strings.Clone(secret)
	if kept == "" {
		return ""
	}
	for _, arg := range os.Args {
		if arg == kept || strings.HasPrefix(arg, "--password=") && strings.HasSuffix(arg, kept) {
			clear(unsafe.Slice(unsafe.StringData(arg), len(arg))[len(arg)-len(kept):])
		}
	}
	return kept
}
