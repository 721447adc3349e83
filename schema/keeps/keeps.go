// Package keeps is what a plugin says that its monitoring must keep on printing, such as section headers or metric
// families: its form, which names are in an output, and which of them are lost after an update. It is pure; a host
// runs the command by package agent/keeps, and remembers what it saw by package agent/cycle.
package keeps

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/plain"
)

// Bounds of one plugin's names.
const (
	MaxNames  = 16 << 10 // bytes of all names, with a separator each
	MaxOutput = 16 << 20 // bytes that are read for them
	maxLine   = 64 << 10 // bytes of a line that a name is looked for in
	maxText   = 1000     // bytes of an expression
	maxList   = 64       // expressions in Dropped
)

// Keeps is one plugin's: schema.KeepsFile is a JSON array of them.
type Keeps struct {
	Plugin  string          `json:"plugin"`
	Command []string        `json:"command,omitempty"` // what prints the names; or
	URL     string          `json:"url,omitempty"`     // what has them, over HTTP on this host
	User    string          `json:"user,omitempty"`    // who runs Command; empty: root
	Names   string          `json:"names"`             // finds one in a line: its first group, or all it matches
	Dropped []string        `json:"dropped,omitempty"` // expressions for whole names that may go
	Settle  schema.Duration `json:"settle"`            // what the agent needs after an installation, and between tries
	Retries int             `json:"retries"`           // after the first look at what is missing
	Within  schema.Duration `json:"within"`            // how long a run may take
	Units   []string        `json:"units,omitempty"`   // of the plugin: it prints little where one of them was stopped
}

// Default is what a plugin that says no more gets.
func Default(plugin string) Keeps {
	return Keeps{Plugin: plugin, Settle: schema.Duration(5 * time.Second), Retries: 3,
		Within: schema.Duration(time.Minute)}
}

// FieldError is what is wrong with one field.
type FieldError struct {
	Field string // as in JSON
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// Check reports whether a host can use k. The error is a FieldError.
func (k *Keeps) Check() error {
	bad := func(field, format string, args ...any) error { return &FieldError{field, fmt.Errorf(format, args...)} }
	switch {
	case (len(k.Command) == 0) == (k.URL == ""):
		return bad("command", "want either a command or a url")
	case k.URL == "" && !path.IsAbs(k.Command[0]):
		return bad("command", "it does not start with an absolute path")
	case k.URL != "" && !local(k.URL):
		return bad("url", "%.120q is not a URL such as http://127.0.0.1:9100/metrics", k.URL)
	case time.Duration(k.Settle) < 0 || time.Duration(k.Settle) > 10*time.Minute:
		return bad("settle", "%s is out of range: want 0s to 10m", k.Settle)
	case k.Retries < 0 || k.Retries > 20:
		return bad("retries", "%d is out of range: want 0 to 20", k.Retries)
	case time.Duration(k.Within) < time.Second || time.Duration(k.Within) > 10*time.Minute:
		return bad("within", "%s is out of range: want 1s to 10m", k.Within)
	case len(k.Dropped) > maxList:
		return bad("dropped", "%d expressions, at most %d are read", len(k.Dropped), maxList)
	}
	if _, err := compile(k.Names, "%s"); err != nil {
		return bad("names", "%w", err)
	}
	for _, text := range k.Dropped {
		if _, err := compile(text, "^(?:%s)$"); err != nil {
			return bad("dropped", "%w", err)
		}
	}
	return nil
}

func local(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "http" && u.Hostname() != "" && u.User == nil && u.Fragment == "" &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func compile(text, whole string) (*regexp.Regexp, error) {
	if text == "" || len(text) > maxText {
		return nil, fmt.Errorf("an expression has 1 to %d bytes, not %d", maxText, len(text))
	}
	if _, err := regexp.Compile(text); err != nil { // by itself: "a)(b" is none, though "(a)(b)" is
		return nil, fmt.Errorf("%.80q is not a regular expression (RE2): %w", text, err)
	}
	return regexp.Compile(fmt.Sprintf(whole, text))
}

// ID is equal for those whose names can be compared: of another command, or found in another way, they are others. Who
// runs it, how long that takes and where it listens makes no difference to what has to be there.
func (k *Keeps) ID() string {
	text := strings.Join(k.Command, "\x00") + "\x00\x00" + k.Names
	return schema.DigestOf([]byte(text)).Short()
}

// ErrTooMany says that an output is more than is read, so that nothing can be said of what it lacks.
var ErrTooMany = errors.New("it prints more than can be compared")

// In finds the names in an output: clean, each once, sorted.
func (k *Keeps) In(output io.Reader) ([]string, error) {
	re, err := compile(k.Names, "%s")
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: output, N: MaxOutput + 1}
	seen, size := map[string]bool{}, 0
	for r := bufio.NewReaderSize(limited, maxLine); ; {
		line, err := r.ReadSlice('\n')
		name := plain.Name(match(re, line))
		if name != "" && !seen[name] {
			if size += len(name) + 1; size > MaxNames {
				return nil, fmt.Errorf("%w: its names have more than %d bytes", ErrTooMany, MaxNames)
			}
			seen[name] = true
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line is none of its own
			_, err = r.ReadSlice('\n')
		}
		switch {
		case limited.N == 0:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooMany, MaxOutput)
		case errors.Is(err, io.EOF):
			names := make([]string, 0, len(seen))
			for name := range seen {
				names = append(names, name)
			}
			slices.Sort(names)
			return names, nil
		case err != nil:
			return nil, err
		}
	}
}

func match(re *regexp.Regexp, line []byte) string {
	m := re.FindSubmatch(line)
	if m == nil {
		return ""
	}
	return string(m[min(1, len(m)-1)])
}

// Lost is which of the names of before, sorted, are not among those of now, and are not announced by Dropped.
func (k *Keeps) Lost(before, now []string) (lost []string) {
	var dropped []*regexp.Regexp
	for _, text := range k.Dropped {
		if re, err := compile(text, "^(?:%s)$"); err == nil {
			dropped = append(dropped, re)
		}
	}
	for _, name := range before {
		if _, there := slices.BinarySearch(now, name); there {
			continue
		}
		if !slices.ContainsFunc(dropped, func(re *regexp.Regexp) bool { return re.MatchString(name) }) {
			lost = append(lost, name)
		}
	}
	return lost
}

// maxDecoded bounds KeepsFile, in bytes.
const maxDecoded = 256 << 10

// Decode reads and checks schema.KeepsFile; a plugin is in it once.
func Decode(b []byte) ([]Keeps, error) {
	if len(b) > maxDecoded {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(b), maxDecoded)
	}
	var list []Keeps
	if err := schema.Decode(b, &list); err != nil {
		return nil, err
	}
	for i := range list {
		if err := list[i].Check(); err != nil {
			return nil, fmt.Errorf("what %.80q keeps: %w", list[i].Plugin, err)
		}
	}
	slices.SortFunc(list, func(a, b Keeps) int { return cmp.Compare(a.Plugin, b.Plugin) })
	return slices.CompactFunc(list, func(a, b Keeps) bool { return a.Plugin == b.Plugin }), nil
}
