package notice

import (
	"log/slog"
	"sync"
)

// Gone notes registered hosts whose name the fleet has no longer, each once per timestamp.
type Gone struct {
	mu    sync.Mutex
	hosts map[string]int64
}

// Note says that the server holds a host back in the release of that timestamp, and why.
func (g *Gone) Note(log *slog.Logger, host string, timestamp int64, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hosts[host] == timestamp {
		return
	}
	if g.hosts == nil {
		g.hosts = map[string]int64{}
	}
	g.hosts[host] = timestamp
	log.Warn("a registered host is given nothing", "host", host, "why", why, "hint", "if it has another name in the "+
		`fleet's repository, set `+"`was: \""+host+"\"`"+` there, or register it under that: bakehouse-agent register `+
		"--force --host NAME")
}
