package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
)

// Priorities of syslog(3).
const (
	critical      = 2
	failure       = 3
	warning       = 4
	informational = 6
)

// graded passes on what the program says on stderr to where the system keeps it, by its priority. systemd's journal
// reads stderr itself, and the priority from the beginning of a line. Otherwise, such as for whoever types a command,
// or under cron, warnings and errors go to syslog too: once log is set.
type graded struct {
	to      io.Writer
	journal bool // to is the journal's
	log     func(priority int, line string)

	mu sync.Mutex
}

// Write takes whole lines. One that says nothing of its kind goes on with the one before it.
func (g *graded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	priority := informational
	var out bytes.Buffer
	for line := range strings.Lines(string(b)) {
		if p := grade(line); p != 0 {
			priority = p
		}
		if g.journal {
			fmt.Fprintf(&out, "<%d>", priority)
		} else if g.log != nil && priority <= warning {
			g.log(priority, strings.TrimRight(line, "\n"))
		}
		out.WriteString(line)
	}
	if _, err := g.to.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// grade is the priority of a line as this program begins it, 0 if it says none.
func grade(line string) int {
	line = strings.TrimPrefix(line, "bakehouse-agent: ")
	for _, kind := range []struct {
		start    string
		priority int
	}{{"critical: ", critical}, {"error: ", failure}, {`{"error":`, failure}, {"warning: ", warning},
		{"hint: ", informational}} {
		if strings.HasPrefix(line, kind.start) {
			return kind.priority
		}
	}
	return 0
}

// logged are the commands that change the host: what goes wrong in the others is of interest to whoever typed them.
var logged = []string{"register", "unregister", "update", "retry", "run", "rollback", "pause", "resume", "adopt"}

// isLogged reports whether what goes wrong in a command is for the system's log. A sandbox has none.
func isLogged(c *cobra.Command) bool {
	root, err := c.Flags().GetString("root")
	return err == nil && root == "" && slices.Contains(logged, c.Name())
}
