package bins

import (
	"bytes"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/quorum"
)

// ReadSnapshot is Read for a fleet's snapshot, which every host reads at every poll: it lists each bin by its version
// alone, and names their tree.
func ReadSnapshot(b []byte, by *quorum.Verifier) (*metadata.Metadata[metadata.SnapshotType], bool) {
	s := &scanner{b: b}
	sigs, signers := s.verified(by)
	if signers == nil {
		return nil, false
	}
	md := metadata.Snapshot()
	s.lit(`{"_type":"` + metadata.SNAPSHOT + `","` + Field + `":{"tree":"`)
	md.Signed.UnrecognizedFields = map[string]any{Field: map[string]any{"tree": string(s.str())}}
	s.lit(`},"expires":"`)
	md.Signed.Expires = s.time()
	s.lit(`","meta":{`)
	md.Signed.Meta = make(map[string]*metadata.MetaFiles, bytes.Count(b, []byte(`{"version":`)))
	var last []byte
	for !s.bad && !s.opt(`},"spec_version":"`) {
		if last != nil {
			s.lit(",")
		}
		s.lit(`"`)
		name := s.str()
		s.lit(`:{"version":`)
		if last != nil && bytes.Compare(last, name) >= 0 {
			s.bad = true
		}
		last = name
		md.Signed.Meta[string(name)] = &metadata.MetaFiles{Version: s.num()}
		s.lit(`}`)
	}
	md.Signed.SpecVersion = string(s.str())
	s.lit(`,"version":`)
	md.Signed.Version = s.num()
	s.lit(`}`)
	for _, sig := range sigs {
		md.Signatures = append(md.Signatures, metadata.Signature{KeyID: sig.KeyID, Signature: sig.Sig})
	}
	return md, s.ended()
}
