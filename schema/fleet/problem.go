package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in the repo. Line and Col count from 1; 0 means the whole file.
type Pos struct {
	File      string
	Line, Col int
}

// Builtin starts the names of files that come with the program, and are nobody's to change.
const Builtin = "bakehouse:"

// IsBuiltin reports whether the place is in such a file.
func (p Pos) IsBuiltin() bool { return strings.HasPrefix(p.File, Builtin) }

func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// MarshalText implements encoding.TextMarshaler.
func (p Pos) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// IsZero reports whether p is no place at all.
func (p Pos) IsZero() bool { return p == Pos{} }

// Compare orders places by file, line and column.
func (p Pos) Compare(q Pos) int {
	return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Problem is one thing that is wrong with a config repo, where, and what to do about it.
type Problem struct {
	Pos  Pos
	Msg  string
	Hint string
	Also []Pos // other places that take part

	// Path is the way to the value that it is about, as CUE writes it; empty where that is not known. It is for whoever
	// hides secrets.
	Path []string `json:"-"`
}

func (p Problem) Error() string {
	var b strings.Builder
	if !p.Pos.IsZero() {
		b.WriteString(p.Pos.String() + ": ")
	}
	b.WriteString(p.Msg)
	for i, q := range p.Also {
		b.WriteString([]string{" (see also ", ", "}[min(i, 1)] + q.String())
	}
	if len(p.Also) > 0 {
		b.WriteString(")")
	}
	return b.String()
}

// Problems is every error of a repo, by place.
type Problems []Problem

func (ps Problems) Error() string {
	var lines []string
	for _, p := range ps {
		lines = append(lines, p.Error())
		if p.Hint != "" {
			lines = append(lines, "\thint: "+p.Hint)
		}
	}
	return strings.Join(lines, "\n")
}

// Sorted is ps by place, without repetitions.
func (ps Problems) Sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(a.Pos.Compare(b.Pos),
			strings.Compare(a.Msg, b.Msg))
	})
	return slices.CompactFunc(ps, func(a, b Problem) bool { return a.Pos == b.Pos && a.Msg == b.Msg })
}

// Err is ps as an error, by place, which is nil if there is none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.Sorted()
}
