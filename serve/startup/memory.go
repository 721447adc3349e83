package startup

import (
	"os"
	"runtime/debug"
)

// Memory has the collector of garbage come earlier than usual, unless GOGC says when. Most of a server's memory is the
// hosts, which stay: with 100,000 of them, twice their 100 MB would be taken before anything is given back. What
// requests leave behind is little beside them, so coming earlier costs little.
func Memory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(60)
	}
}
