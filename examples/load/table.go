package main

import (
	"fmt"
	"io"
	"strings"
)

// table is what is printed, in Markdown.
type table struct {
	progress io.Writer // is told each line as soon as it is known
	rows     [][4]string
	notes    []string
	rate     float64 // polls a second over kept connections
}

func (t *table) add(what, ours, nginx, remark string) {
	row := [4]string{what, ours, nginx, remark}
	t.rows = append(t.rows, row)
	fmt.Fprintln(t.progress, strings.Join(row[:], "; "))
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
