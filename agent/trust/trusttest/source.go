package trusttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// Asked returns and forgets what was asked for: the names of metadata files, with those of a fleet's top-level targets,
// and the paths of targets.
func (r *Repo) Asked() (files, targets []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	files, targets = r.asked, r.fetched
	r.asked, r.fetched = nil, nil
	return files, targets
}

func (r *Repo) ask(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
	return r.Fail[name]
}

// Metadata reads a file by the name that it has in the way: "1.a%2Fb.json".
func (r *Repo) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	if err := r.ask(name); err != nil {
		return nil, err
	}
	file, err := url.PathUnescape(name)
	if !r.Root.Signed.ConsistentSnapshot && !strings.HasSuffix(file, ".root.json") {
		file = r.latest[strings.TrimSuffix(file, ".json")]
	}
	b, ok := r.Files[file]
	if err != nil || !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

// Open serves a target by its path, with its hash in the name if the root says so.
func (r *Repo) Open(_ context.Context, at string) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched = append(r.fetched, at)
	target := at
	if r.Root.Signed.ConsistentSnapshot {
		dir, base := path.Split(at)
		hash, name, _ := strings.Cut(base, ".")
		target = dir + name
		if !r.names(target, hash) {
			return nil, fs.ErrNotExist
		}
	}
	b, ok := r.content[target]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// names reports whether a role lists the target under the hash.
func (r *Repo) names(target, hash string) bool {
	for _, md := range r.Targets {
		f := md.Signed.Targets[target]
		if f == nil {
			continue
		}
		for _, h := range f.Hashes {
			if h.String() == hash {
				return true
			}
		}
	}
	return false
}

// ServeHTTP serves metadata under /metadata/ and targets under /targets/.
func (r *Repo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var b []byte
	err := fs.ErrNotExist
	if name, ok := strings.CutPrefix(req.URL.EscapedPath(), "/metadata/"); ok {
		b, err = r.Metadata(req.Context(), name, 0)
	} else if name, ok := strings.CutPrefix(req.URL.Path, "/targets/"); ok {
		var f io.ReadCloser
		if f, err = r.Open(req.Context(), name); err == nil {
			b, err = io.ReadAll(f)
		}
	}
	if err != nil {
		http.Error(w, fmt.Sprint(err), http.StatusNotFound)
		return
	}
	_, _ = w.Write(b)
}
