package bins

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
)

// Signed makes the signed part of a bin: the canonical JSON of what it says, which Read reads as it stands. The error
// is a site or ring whose name would have to be escaped.
func Signed(role string, version int64, expires time.Time, hosts []*schema.Assignment) ([]byte, error) {
	hosts = slices.SortedFunc(slices.Values(hosts), compareTargets)
	w := &writer{b: make([]byte, 0, 256+512*len(hosts))}
	w.add(`{"_type":"`, metadata.TARGETS, `","`, Field, `":{"role":"`, role, `"},"expires":"`)
	w.time(expires)
	w.add(`","spec_version":"`, metadata.SPECIFICATION_VERSION, `","targets":{`)
	for i, a := range hosts {
		if i > 0 {
			w.add(",")
		}
		if !plain(a.Site) || !plain(a.Ring) {
			return nil, fmt.Errorf("host %s: site %q or ring %q is not of printable ASCII", a.Host, a.Site, a.Ring)
		}
		w.add(`"`, a.Host, packageSuffix, `":{"custom":`)
		w.custom(&a.Target)
		w.add(`,"hashes":{"sha256":"`)
		w.b = hex.AppendEncode(w.b, a.SHA256[:])
		w.add(`"},"length":`)
		w.num(a.Length)
		w.add(`}`)
	}
	w.add(`},"version":`)
	w.num(version)
	w.add(`}`)
	return w.b, nil
}

// File is a metadata file of a signed part and its signatures.
func File(signed []byte, sigs []quorum.Signature) []byte {
	w := &writer{b: make([]byte, 0, len(signed)+256*(1+len(sigs)))}
	w.add(`{"signatures":[`)
	for i, s := range sigs {
		if i > 0 {
			w.add(",")
		}
		w.add(`{"keyid":"`, s.KeyID, `","sig":"`)
		w.b = hex.AppendEncode(w.b, s.Sig)
		w.add(`"}`)
	}
	w.add(`],"signed":`)
	w.b = append(w.b, signed...)
	w.add(`}`)
	return w.b
}

// compareTargets orders hosts by their targets' names, which is not the order of theirs: "a-b" comes before "a".
func compareTargets(a, b *schema.Assignment) int {
	n := min(len(a.Host), len(b.Host))
	if c := strings.Compare(a.Host[:n], b.Host[:n]); c != 0 {
		return c
	}
	return strings.Compare(a.Host[n:]+packageSuffix, b.Host[n:]+packageSuffix)
}

// plain reports whether a string stands for itself in JSON.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

type writer struct{ b []byte }

func (w *writer) add(texts ...string) {
	for _, s := range texts {
		w.b = append(w.b, s...)
	}
}

func (w *writer) num(n int64)      { w.b = strconv.AppendInt(w.b, n, 10) }
func (w *writer) time(t time.Time) { w.b = t.UTC().AppendFormat(w.b, timeForm) }

func (w *writer) digest(d schema.Digest) {
	w.add("sha256:")
	w.b = hex.AppendEncode(w.b, d[:])
}

func (w *writer) custom(t *schema.Target) {
	w.add(`{"manifest":"`)
	w.digest(t.Manifest)
	for i, c := range t.Older {
		if i == 0 {
			w.add(`","older":[`)
		} else {
			w.add(`,`)
		}
		w.candidate(c)
	}
	if len(t.Older) > 0 {
		w.add(`],"recipe":"`)
	} else {
		w.add(`","recipe":"`)
	}
	w.add(string(t.Recipe), `","release":`)
	w.num(t.Release)
	if t.Ring != "" {
		w.add(`,"ring":"`, t.Ring, `"`)
	}
	if t.Selected {
		w.add(`,"selected":true`)
	}
	w.add(`,"since":"`)
	w.time(t.Since)
	w.add(`"`)
	if t.Site != "" {
		w.add(`,"site":"`, t.Site, `"`)
	}
	if len(t.Was) > 0 {
		w.add(`,"was":["`, strings.Join(t.Was, `","`), `"]`)
	}
	w.add(`}`)
}

func (w *writer) candidate(c schema.Candidate) {
	w.add(`{"length":`)
	w.num(c.Length)
	w.add(`,"manifest":"`)
	w.digest(c.Manifest)
	w.add(`","recipe":"`, string(c.Recipe), `","release":`)
	w.num(c.Release)
	w.add(`,"sha256":"`)
	w.digest(c.SHA256)
	w.add(`","since":"`)
	w.time(c.Since)
	w.add(`"}`)
}
