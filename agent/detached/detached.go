// Package detached runs an update beside the service that asks for it, which the update may restart or replace.
package detached

import (
	"os"
	"runtime"
	"strings"
)

// Replaced returns a check for Run of whether the file that program names is still the one that it is now.
func Replaced(program string) func() bool {
	before, err := os.Stat(program)
	if err != nil {
		return nil
	}
	return func() bool {
		now, err := os.Stat(program)
		return err == nil && !os.SameFile(before, now)
	}
}

// variables are those by which programs are told how to reach servers, as the service has them: NAME=VALUE.
func variables() (set []string) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"} {
		if v, ok := os.LookupEnv(name); ok {
			set = append(set, name+"="+v)
		}
		if lower := strings.ToLower(name); runtime.GOOS != "windows" { // where the two are one
			if v, ok := os.LookupEnv(lower); ok {
				set = append(set, lower+"="+v)
			}
		}
	}
	return set
}
