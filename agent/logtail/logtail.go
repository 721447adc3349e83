// Package logtail keeps the end of a log for a report: its last whole lines, without the host's secret.
package logtail

import (
	"strings"
	"sync"

	"bakehouse/schema"
	"bakehouse/schema/plain"
)

// Tail keeps the end of what is written to it.
type Tail struct {
	mu  sync.Mutex
	end []byte
}

func (l *Tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = append(l.end, b...)
	l.end = append(l.end[:0], l.end[max(0, len(l.end)-schema.MaxLogTail):]...)
	return len(b), nil
}

// Without is the end of the log in whole lines. No secret is in the log; but a server that was told this host's can put
// it into an answer's text, and the report may go to another server.
func (l *Tail) Without(secret string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := string(l.end)
	if len(s) == schema.MaxLogTail {
		if _, whole, ok := strings.Cut(s, "\n"); ok {
			s = whole
		}
	}
	if secret != "" {
		s = strings.ReplaceAll(s, secret, "(hidden)")
	}
	return plain.Tail(s, schema.MaxLogTail)
}
