// Package transfer is `bakehouse inventory`: copies and backups of a server's database, and the file by which
// registrations move to another server.
package transfer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

// Schema is the version of the file. Its first line is a header, its last one says how many lines are between them:
// a file that was cut off is refused.
const Schema = 1

type line struct {
	Bakehouse string    `json:"bakehouse,omitempty"` // "inventory", in the header
	Schema    int       `json:"schema,omitempty"`
	Exported  time.Time `json:"exported,omitzero"`

	Served *served `json:"served,omitempty"`
	Host   *host   `json:"host,omitempty"`

	Lines *int `json:"lines,omitempty"`
}

type served struct {
	Root      schema.Digest `json:"root"` // the fleet's first
	Timestamp int64         `json:"timestamp"`
	File      []byte        `json:"file"`
	At        time.Time     `json:"at"`
}

type host struct {
	Name       string          `json:"name"`
	Secret     schema.Digest   `json:"secretSHA256"`
	User       string          `json:"user"`
	Token      string          `json:"token,omitempty"`
	Platform   schema.Platform `json:"platform"`
	Agent      string          `json:"agent"`
	Registered time.Time       `json:"registered"`

	Ended   string    `json:"ended,omitempty"`
	EndedBy string    `json:"endedBy,omitempty"`
	EndedAt time.Time `json:"endedAt,omitzero"`

	Seen      time.Time      `json:"seen,omitzero"`
	Address   string         `json:"address,omitempty"`
	Timestamp int64          `json:"timestamp,omitempty"` // that it has verified
	Root      int64          `json:"root,omitempty"`
	Report    *schema.Report `json:"report,omitempty"`
	Packages  []given        `json:"packages,omitempty"`
}

type given struct {
	SHA256   schema.Digest `json:"sha256"`
	Manifest schema.Digest `json:"manifest"`
}

// Write writes entries as JSON lines and returns how many hosts there are.
func Write(w io.Writer, entries iter.Seq2[inventory.Entry, error], now time.Time) (hosts int, err error) {
	e := json.NewEncoder(w)
	header := line{Bakehouse: "inventory", Schema: Schema, Exported: now.UTC().Truncate(time.Second)}
	if err := e.Encode(header); err != nil {
		return 0, err
	}
	lines := 0
	for entry, err := range entries {
		if err != nil {
			return 0, err
		}
		if entry.Host != nil {
			hosts++
		}
		lines++
		if err := e.Encode(lineOf(entry)); err != nil {
			return 0, err
		}
	}
	return hosts, e.Encode(line{Lines: &lines})
}

func lineOf(e inventory.Entry) line {
	if s := e.Served; s != nil {
		return line{Served: &served{s.Anchor, s.Timestamp, s.File, s.At}}
	}
	r, end := e.Host.Registration, e.Host.End
	h := &host{Name: r.Host, Secret: r.Secret, User: r.User, Token: r.Token, Platform: r.Platform, Agent: r.Agent,
		Registered: r.At, Ended: end.How, EndedBy: end.By, EndedAt: end.At}
	if s := e.Host.Seen; !s.At.IsZero() {
		h.Seen, h.Address, h.Timestamp, h.Root, h.Report = s.At, s.Address, s.Timestamp, s.Root, &s.Report
	}
	for _, p := range e.Packages {
		h.Packages = append(h.Packages, given(p))
	}
	return line{Host: h}
}

// entry is the reverse of lineOf.
func (l line) entry() (inventory.Entry, error) {
	var e inventory.Entry
	if s := l.Served; s != nil {
		e.Served = &inventory.Served{Anchor: s.Root, Timestamp: s.Timestamp, File: s.File, At: s.At}
	}
	if h := l.Host; h != nil {
		e.Host = &inventory.Host{Registration: inventory.Registration{Host: h.Name, Secret: h.Secret, User: h.User,
			Token: h.Token, Platform: h.Platform, Agent: h.Agent, At: h.Registered},
			End: inventory.End{How: h.Ended, By: h.EndedBy, At: h.EndedAt}}
		if h.Report != nil {
			e.Host.Seen = inventory.Seen{At: h.Seen, Address: h.Address, Timestamp: h.Timestamp, Root: h.Root,
				Report: *h.Report}
		}
		for _, p := range h.Packages {
			e.Packages = append(e.Packages, inventory.Package(p))
		}
	}
	return e, e.Check()
}

// maxLine bounds a line: a report's log is the longest part.
const maxLine = 1 << 20

// Read reads what Write wrote.
func Read(r io.Reader) (entries []inventory.Entry, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	complete := false
	for n := 1; s.Scan(); n++ {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		switch {
		case n == 1 && l.Bakehouse != "inventory":
			return nil, errors.New("it is not an exported inventory")
		case n == 1 && l.Schema != Schema:
			return nil, fmt.Errorf("it has schema %d, this program reads %d", l.Schema, Schema)
		case n == 1:
		case complete:
			return nil, fmt.Errorf("line %d: there is more after the end", n)
		case l.Lines != nil:
			if complete = true; *l.Lines != len(entries) {
				return nil, fmt.Errorf("%d lines are missing", *l.Lines-len(entries))
			}
		default:
			e, err := l.entry()
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			entries = append(entries, e)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if !complete {
		return nil, errors.New("its end is missing: it was cut off")
	}
	return entries, nil
}
