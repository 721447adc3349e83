package bins

import (
	"bytes"
	"encoding/hex"
	"math"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
)

// Read verifies and decodes the file of the bin of that number as it stands: the signatures of by over the very bytes
// of "signed". ok is false if the file has another form than reconcile writes, does not verify, or lists what no host
// is given.
//
// The form is canonical JSON (OLPC) of known names. Each value has one spelling: names in order and each once, no space
// between tokens, strings of printable ASCII that need no escape, whole numbers without sign or leading zero, times in
// whole seconds of UTC. So the bytes are what a canonical encoder makes of their meaning, and there is no second one.
func Read(b []byte, number int, layout Layout, by *quorum.Verifier) (bin *Bin, ok bool) {
	s := &scanner{b: b}
	_, signers := s.verified(by)
	if signers == nil {
		return nil, false
	}
	bin = s.signed(number, layout)
	if !s.ended() {
		return nil, false
	}
	bin.SHA256, bin.Signers = schema.DigestOf(b), signers
	return bin, true
}

// verified reads the file up to the value of "signed", which is the rest but for a brace, and verifies it. It returns
// no signers if that fails.
func (s *scanner) verified(by *quorum.Verifier) (sigs []quorum.Signature, signers []string) {
	sigs = s.signatures()
	to := len(s.b) - len("}")
	if s.bad || to < s.at || s.b[to] != '}' {
		return nil, nil
	}
	s.b = s.b[:to]
	return sigs, by.Verify(s.b[s.at:], sigs)
}

// ended reports whether all was read, and all of it as expected.
func (s *scanner) ended() bool { return !s.bad && s.at == len(s.b) }

// scanner walks a file from left to right. Once something is not as expected, it is bad and yields nothing more.
type scanner struct {
	b   []byte
	at  int
	bad bool

	since   string // as spelled last
	sinceAt time.Time
	words   []string // sites and rings: few
}

// lit expects exactly this text.
func (s *scanner) lit(text string) {
	if !s.opt(text) {
		s.bad = true
	}
}

// opt takes this text if it follows.
func (s *scanner) opt(text string) bool {
	if s.bad || len(s.b)-s.at < len(text) || string(s.b[s.at:s.at+len(text)]) != text {
		return false
	}
	s.at += len(text)
	return true
}

// str reads the rest of a string, its closing quote included.
func (s *scanner) str() []byte {
	if s.bad {
		return nil
	}
	for i := s.at; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			text := s.b[s.at:i]
			s.at = i + 1
			return text
		case c < ' ' || c > '~' || c == '\\':
			s.bad = true
			return nil
		}
	}
	s.bad = true
	return nil
}

// word is a string of which the file has few different ones.
func (s *scanner) word() string {
	text := s.str()
	for _, w := range s.words {
		if w == string(text) {
			return w
		}
	}
	w := string(text)
	s.bad = s.bad || w == "" // is left out
	if len(s.words) < 16 {
		s.words = append(s.words, w)
	}
	return w
}

// hexes decodes lower-case hexadecimal digits into d.
func (s *scanner) hexes(d []byte) {
	n := 2 * len(d)
	if s.bad || len(s.b)-s.at < n {
		s.bad = true
		return
	}
	text := s.b[s.at : s.at+n]
	for _, c := range text {
		if c >= 'A' && c <= 'F' {
			s.bad = true
			return
		}
	}
	if _, err := hex.Decode(d, text); err != nil {
		s.bad = true
	}
	s.at += n
}

// digest is "sha256:HEX" and the closing quote.
func (s *scanner) digest() (d schema.Digest) {
	s.lit("sha256:")
	s.hexes(d[:])
	s.lit(`"`)
	return d
}

// num reads a whole number from 0 on.
func (s *scanner) num() (n int64) {
	from := s.at
	for !s.bad && s.at < len(s.b) && s.b[s.at] >= '0' && s.b[s.at] <= '9' {
		d := int64(s.b[s.at] - '0')
		if n > (math.MaxInt64-d)/10 || s.at > from && n == 0 {
			s.bad = true
		}
		n = n*10 + d
		s.at++
	}
	s.bad = s.bad || s.at == from
	return n
}

// timeForm is RFC 3339 in whole seconds of UTC.
const timeForm = "2006-01-02T15:04:05Z"

// time reads a time without the quotes.
func (s *scanner) time() time.Time {
	if s.bad || len(s.b)-s.at < len(timeForm) {
		s.bad = true
		return time.Time{}
	}
	text := s.b[s.at : s.at+len(timeForm)]
	s.at += len(timeForm)
	if string(text) == s.since {
		return s.sinceAt
	}
	t, err := time.Parse(timeForm, string(text))
	if err != nil || t.Format(timeForm) != string(text) {
		s.bad = true
		return time.Time{}
	}
	s.since, s.sinceAt = string(text), t.UTC()
	return s.sinceAt
}

// signatures reads the file up to the value of "signed". No key signs twice.
func (s *scanner) signatures() (sigs []quorum.Signature) {
	s.lit(`{"signatures":[`)
	for !s.bad && !s.opt(`],"signed":`) {
		if len(sigs) > 0 {
			s.lit(",")
		}
		s.lit(`{"keyid":"`)
		id := string(s.str())
		s.lit(`,"sig":"`)
		text := s.str()
		s.lit(`}`)
		sig := make([]byte, hex.DecodedLen(len(text)))
		if _, err := hex.Decode(sig, text); err != nil || !bytes.Equal(bytes.ToLower(text), text) {
			s.bad = true
		}
		for _, other := range sigs {
			s.bad = s.bad || other.KeyID == id
		}
		sigs = append(sigs, quorum.Signature{KeyID: id, Sig: sig})
	}
	return sigs
}

func (s *scanner) signed(number int, layout Layout) *Bin {
	bin := &Bin{}
	s.lit(`{"_type":"` + metadata.TARGETS + `","` + Field + `":{"role":"`)
	if string(s.str()) != layout.names[number] {
		s.bad = true
	}
	s.lit(`},"expires":"`)
	bin.Expires = s.time()
	s.lit(`","spec_version":"`)
	s.str()
	s.lit(`,"targets":{`)
	if !s.bad {
		bin.Hosts = make([]schema.Assignment, 0, bytes.Count(s.b[s.at:], []byte(`,"length":`)))
	}
	var last []byte
	for !s.bad && !s.opt(`}`) {
		if len(bin.Hosts) > 0 {
			s.lit(",")
		}
		s.lit(`"`)
		name := s.str()
		s.lit(`:{"custom":`)
		host, ok := bytes.CutSuffix(name, []byte(packageSuffix))
		if s.bad || !ok || last != nil && bytes.Compare(last, name) >= 0 || layout.number(name) != number {
			s.bad = true
			break
		}
		last = name
		bin.Hosts = append(bin.Hosts, schema.Assignment{Host: string(host)})
		a := &bin.Hosts[len(bin.Hosts)-1]
		s.custom(&a.Target)
		s.lit(`,"hashes":{"sha256":"`)
		s.hexes(a.SHA256[:])
		s.lit(`"},"length":`)
		a.Length = s.num()
		s.lit(`}`)
		s.bad = s.bad || a.Validate() != nil
	}
	s.lit(`,"version":`)
	bin.Version = s.num()
	s.lit(`}`)
	return bin
}

func (s *scanner) custom(t *schema.Target) {
	s.lit(`{"manifest":"`)
	t.Manifest = s.digest()
	if s.opt(`,"older":[`) {
		for !s.bad && !s.opt(`]`) {
			if len(t.Older) > 0 {
				s.lit(",")
			}
			t.Older = append(t.Older, s.candidate())
		}
		s.bad = s.bad || len(t.Older) == 0
	}
	s.lit(`,"recipe":"`)
	t.Recipe = schema.RecipeID(s.str())
	s.lit(`,"release":`)
	t.Release = s.num()
	if s.opt(`,"ring":"`) {
		t.Ring = s.word()
	}
	if s.opt(`,"selected":`) {
		s.lit("true")
		t.Selected = true
	}
	s.lit(`,"since":"`)
	t.Since = s.time()
	s.lit(`"`)
	if s.opt(`,"site":"`) {
		t.Site = s.word()
	}
	if s.opt(`,"was":["`) {
		for {
			t.Was = append(t.Was, string(s.str()))
			if s.bad || s.opt(`]`) {
				break
			}
			s.lit(`,"`)
		}
	}
	s.lit(`}`)
}

func (s *scanner) candidate() (c schema.Candidate) {
	s.lit(`{"length":`)
	c.Length = s.num()
	s.lit(`,"manifest":"`)
	c.Manifest = s.digest()
	s.lit(`,"recipe":"`)
	c.Recipe = schema.RecipeID(s.str())
	s.lit(`,"release":`)
	c.Release = s.num()
	s.lit(`,"sha256":"`)
	c.SHA256 = s.digest()
	s.lit(`,"since":"`)
	c.Since = s.time()
	s.lit(`"}`)
	return c
}
