// Package console has what the operator's commands print alike: counts, sizes, tables, JSON, and the progress of long
// work.
//
// Results go to standard output, as text or, with --json, by WriteJSON; everything beside them, such as progress and
// warnings, goes to standard error, so that a result can be piped.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Count is a number of things: "1 host", "3 hosts". what is the singular of a noun whose plural takes an s.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Size is a number of bytes, in decimal units: "812 B", "14.2 kB", "3.0 MB".
func Size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// Days is a duration in whole days: "30 days", "less than a day".
func Days(d time.Duration) string {
	if n := int(d / (24 * time.Hour)); n != 0 {
		return Count(n, "day")
	}
	return "less than a day"
}

// Hosts lists up to three hosts, and counts more: "web1, web2", "120 hosts (web1, …)".
func Hosts(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%d hosts (%s, …)", len(names), names[0])
	}
	return strings.Join(names, ", ")
}

// WriteJSON writes v for --json: indented by two spaces, one line break at the end, and <, > and & as they are.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// NewTable aligns columns that tabs end, two spaces apart. Nothing is written to w before Flush.
func NewTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }
