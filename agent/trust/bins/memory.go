package bins

import (
	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
)

// Memory keeps values under a name of several parts, for later runs of the same program. It is believed, so nobody else
// may be able to write to it, and it must not return a value that is damaged.
type Memory interface {
	Find(kind string, parts ...string) (value string, ok bool)
	Keep(value []byte, kind string, parts ...string)
}

// What was verified is known again by the digest of its bytes and by who vouched for them: the role, how many bins
// there are, and the keys. So no record of it has to be taken back.

const recordKind = "verified bin"

func (l Layout) parts(number int, file schema.Digest, by *quorum.Verifier) []string {
	return []string{file.Hex(), l.names[number], l.names[len(l.names)-1], by.Name()}
}

// Recall returns what was remembered of a file of the bin of that number, nil if nothing was.
func Recall(m Memory, file schema.Digest, number int, layout Layout, by *quorum.Verifier) *Bin {
	record, ok := m.Find(recordKind, layout.parts(number, file, by)...)
	if !ok {
		return nil
	}
	b, err := Decode(record, file)
	if err != nil {
		return nil
	}
	return b
}

// Remember keeps what Read returned.
func (b *Bin) Remember(m Memory, number int, layout Layout, by *quorum.Verifier) {
	m.Keep(b.Encode(), recordKind, layout.parts(number, b.SHA256, by)...)
}
