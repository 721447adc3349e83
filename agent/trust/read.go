package trust

import (
	"sync"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

// roots are those that this process has read and verified last. The same bytes are read at each step of a poll, by
// several readers, and reading them is most of what it costs. What is here is never changed.
var roots struct {
	sync.Mutex
	last []*rootCopy // the newest last
}

const keptRoots = 4

// rootCopy is a root as a file holds it.
type rootCopy struct {
	*metadata.Metadata[metadata.RootType]
	file   []byte
	signed schema.Digest // signedDigest
}

// readCopy is ParseRoot with what else the root is known by.
func readCopy(b []byte) (*rootCopy, error) {
	roots.Lock()
	for _, r := range roots.last {
		if string(r.file) == string(b) {
			roots.Unlock()
			return r, nil
		}
	}
	roots.Unlock()
	root, err := parseRoot(b)
	if err != nil {
		return nil, err
	}
	d, err := signedDigest(root)
	if err != nil {
		return nil, err
	}
	r := &rootCopy{root, append([]byte(nil), b...), d}
	roots.Lock()
	defer roots.Unlock()
	roots.last = append(roots.last[max(0, len(roots.last)+1-keptRoots):], r)
	return r, nil
}

func (r *rootCopy) version() int64 { return r.Signed.Version }

// ParseRoot reads a root that is trusted for where it comes from: it must hold together, and be signed by its own keys.
// The same bytes may give the same root, which nobody changes.
func ParseRoot(b []byte) (*metadata.Metadata[metadata.RootType], error) {
	r, err := readCopy(b)
	if err != nil {
		return nil, err
	}
	return r.Metadata, nil
}
