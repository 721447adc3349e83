package trust

import "bakehouse/agent/trust/kept"

// dir remembers what was verified.
type dir = kept.Dir

const (
	rootFile      = kept.RootFile
	timestampFile = kept.TimestampFile
	policySuffix  = kept.PolicySuffix
)

var versionedName, quoted = kept.VersionedName, kept.Quoted

// readMarks returns the newer of the valid copies, and never nil. One that contradicts the anchor counts only if both do:
// then the host was moved, else the file was.
func readMarks(d *dir, anchor *rootCopy) *marks {
	best, foreign := &marks{}, false
	for _, name := range []string{d.MarksFile(), d.CopyOf(d.MarksFile())} {
		m, err := decodeMarks(d.Read(name, maxMarks))
		if err != nil {
			best.dirty = true
			continue
		}
		var seen *rootSeen
		if anchor != nil {
			seen = m.root(anchor.version())
		}
		other := seen != nil && seen.Signed != anchor.signed
		switch {
		case best.Serial == 0, foreign && !other, foreign == other && m.Serial > best.Serial:
			m.dirty = best.dirty || best.Serial > 0
			best, foreign = m, other
		case foreign != other, m.Serial < best.Serial:
			best.dirty = true
		}
	}
	return best
}

// maxMarks is above what 16,384 bins need.
const maxMarks = 2 << 20

func writeMarks(d *dir, m *marks) error {
	if d == nil || !m.dirty {
		return nil
	}
	m.Serial++
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := d.WriteTwice(d.MarksFile(), b); err != nil {
		return err
	}
	m.dirty = false
	return nil
}
