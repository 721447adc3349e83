package durabletest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"bakehouse/schema/durable"
)

// PowerCut is the real disk with a model beside it of what POSIX promises: a file's bytes survive a power cut once the
// file was fsynced, a name once its directory was. A kernel may write out either at any earlier moment, so a name in its
// final place must never stand for bytes that are not synced. It is safe for concurrent use.
type PowerCut struct {
	root string

	mu      sync.Mutex
	now     map[string]*node // what the names stand for
	durable map[string]*node // what they would stand for after a power cut, at the least
	broken  []string
}

type node struct{ synced bool }

// NewPowerCut begins a model in which everything that is at or below root now is durable.
func NewPowerCut(root string) (*PowerCut, error) {
	p := &PowerCut{root: filepath.Clean(root), now: map[string]*node{}, durable: map[string]*node{}}
	err := filepath.WalkDir(p.root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			n := &node{synced: true}
			p.now[path], p.durable[path] = n, n
		}
		return err
	})
	return p, err
}

// Disk is the disk to use.
func (p *PowerCut) Disk() durable.Disk {
	return durable.Disk{Around: func(c durable.Call, do func() error) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		err := do()
		if err == nil {
			p.follow(c)
		}
		return err
	}}
}

func (p *PowerCut) follow(c durable.Call) {
	switch c.Name {
	case "open":
		p.now[c.Path] = &node{}
	case "write", "chmod":
		if n := p.now[c.Path]; n != nil {
			n.synced = false
		}
	case "fsync":
		p.now[c.Path].synced = true
	case "mkdir", "symlink":
		p.now[c.Path] = &node{synced: true}
	case "link":
		p.now[c.Path] = p.now[c.From]
	case "rename":
		p.now[c.Path] = p.now[c.From]
		delete(p.now, c.From)
	case "unlink":
		delete(p.now, c.Path)
	case "fsyncdir":
		for path := range p.durable {
			if filepath.Dir(path) == c.Path && p.now[path] == nil {
				delete(p.durable, path)
			}
		}
		for path, n := range p.now {
			if filepath.Dir(path) == c.Path {
				p.durable[path] = n
			}
		}
	}
	for path, n := range p.now {
		if !n.synced && !durable.IsTemp(filepath.Base(path)) {
			p.broken = append(p.broken, fmt.Sprintf("after %s %s the name %s stands for bytes that are not synced", c.Name, c.Path, path))
		}
	}
}

// Broken lists the moments at which a power cut could have left a name with half of its bytes.
func (p *PowerCut) Broken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.broken...)
}

// Check says why path, as it is now (also: absent), might not survive a power cut, or nil.
func (p *PowerCut) Check(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	path = filepath.Clean(path)
	if _, err := os.Lstat(path); err != nil {
		if p.durable[path] != nil {
			return fmt.Errorf("%s could be back", path)
		}
		return nil
	}
	for at := path; at != p.root; at = filepath.Dir(at) {
		if at == filepath.Dir(at) {
			return fmt.Errorf("%s is outside %s", path, p.root)
		}
		if n := p.durable[at]; n == nil || n != p.now[at] || !n.synced {
			return fmt.Errorf("%s could be lost: %s is not durable", path, at)
		}
	}
	return nil
}
