package inventory

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"

	"bakehouse/schema"
)

// memo is what a server keeps in mind of a host, so that a poll without news writes nothing: about 100 bytes.
type memo struct {
	polled  int64 // Unix time of the last poll; 0: unknown
	pending bool  // polled is not written yet

	known           bool          // what follows is of the report in the database
	report, details [12]byte      // digests
	at, registered  int64         // of the report; of the registration
	check, next     time.Duration // how long before and after at the host's checks are; 0: not told
}

// doubt is a poll without news. If another server's report of the host comes to light a little later, it was news.
type doubt struct {
	seen  Seen
	since time.Time
}

// doubted is how long a server may take to write a report.
const doubted = 5 * time.Second

// entry is a report as it is compared, and its details as they are written: empty if it has none.
type entry struct {
	details string
	memo    memo
}

func newEntry(s Seen) (entry, error) {
	var e entry
	at := s.At.Unix()
	e.memo = memo{known: true, polled: at, at: at}
	if d := s.Report.Details; d != nil {
		b, err := json.Marshal(d)
		if err != nil {
			return e, err
		}
		e.details, e.memo.details = string(b), digestOf(b)
		s.Report.Details = nil // of this copy
	}
	if !s.Report.LastCheck.IsZero() {
		e.memo.check = s.At.Sub(s.Report.LastCheck)
	}
	if !s.Report.NextCheck.IsZero() {
		e.memo.next = s.Report.NextCheck.Sub(s.At)
	}
	s.Report.LastCheck, s.Report.NextCheck, s.At = time.Time{}, time.Time{}, time.Time{}
	if host, _, err := net.SplitHostPort(s.Address); err == nil { // a port says nothing
		s.Address = host
	}
	b, err := json.Marshal(s)
	if err != nil {
		return e, err
	}
	e.memo.report = digestOf(b)
	return e, nil
}

func digestOf(b []byte) (short [12]byte) {
	d := schema.DigestOf(b)
	copy(short[:], d[:])
	return short
}

// news reports whether e says what m does not: anything but that time has passed.
func (m memo) news(e entry) bool {
	tolerated := max(5*time.Minute, m.next/4)
	return !m.known || m.at < m.registered || e.memo.at < m.polled || e.memo.report != m.report ||
		e.details != "" && e.memo.details != m.details ||
		(e.memo.check-m.check).Abs() > tolerated || (e.memo.next-m.next).Abs() > tolerated
}

// pack has names and times in a few bytes each; none is empty.
func pack(polled map[string]int64) []byte {
	if len(polled) == 0 {
		return []byte{}
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is known
	}
	var line []byte
	last := int64(0)
	for _, host := range slices.SortedFunc(maps.Keys(polled), cmp.Compare[string]) {
		line = binary.AppendUvarint(line[:0], uint64(len(host)))
		line = binary.AppendVarint(append(line, host...), polled[host]-last)
		last = polled[host]
		_, _ = w.Write(line) // a buffer takes everything
	}
	_ = w.Close()
	return b.Bytes()
}

// unpack is the reverse of pack.
func unpack(b []byte) (map[string]int64, error) {
	if len(b) == 0 {
		return nil, nil
	}
	all, err := io.ReadAll(flate.NewReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("times of polls: %w", err)
	}
	polled := map[string]int64{}
	last := int64(0)
	for len(all) > 0 {
		n, used := binary.Uvarint(all)
		if used <= 0 || n > uint64(len(all)-used) {
			return nil, errors.New("times of polls: bad length")
		}
		host := string(all[used : used+int(n)])
		all = all[used+int(n):]
		passed, used := binary.Varint(all)
		if used <= 0 {
			return nil, errors.New("times of polls: bad time")
		}
		all, last = all[used:], last+passed
		polled[host] = last
	}
	return polled, nil
}
