package main

import (
	"fmt"
	"strings"
)

// table is what is printed, in Markdown.
type table struct {
	rows  [][4]string
	notes []string
	rate  float64 // polls a second over kept connections
}

func (t *table) add(what, ours, nginx, remark string) {
	t.rows = append(t.rows, [4]string{what, ours, nginx, remark})
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) String() string {
	var b strings.Builder
	b.WriteString("| what | bakehouse | nginx | |\n|---|---|---|---|\n")
	for _, row := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row[:], " | "))
	}
	return b.String() + "\n" + strings.Join(t.notes, "\n") + "\n"
}
