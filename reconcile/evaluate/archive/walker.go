package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// bounds are what an archive may cost.
type bounds struct {
	Packed   int64 // bytes of the archive
	Inflated int64 // bytes of all it holds
	Members  int
	Names    int // bytes of all names and links
	Links    int // steps from a name to its member
}

var defaultBounds = bounds{Packed: 2 << 30, Inflated: 8 << 30, Members: 1 << 18, Names: 64 << 20, Links: 40}

type kind uint8

const (
	other kind = iota
	directory
	regular
	symlink
	hardlink
)

// item is a member as a reader meets it.
type item struct {
	name string // as the archive writes it
	kind kind
	link string // where a link leads, as the archive writes it
	exec bool   // somebody may execute it
	// inode tells members that share their content; all but one of them may be without. Zero: it shares nothing.
	inode [3]uint32
}

// walker yields the members of an archive in order, and reads the one that next returned last.
type walker interface {
	next() (item, error) // io.EOF after the last
	io.Reader
	close()
}

// wrong says which kind of archive it was read as, but for what it cannot help.
func wrong(what string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err == io.ErrUnexpectedEOF {
		err = errors.New("ends too early")
	}
	return fmt.Errorf("read as %s: %w", what, err)
}

// budget is how many bytes may still be read.
type budget struct{ left int64 }

func (b *budget) reader(r io.Reader) io.Reader { return &spender{r, b} }

type spender struct {
	r io.Reader
	b *budget
}

func (s *spender) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.b.left -= int64(n); s.b.left < 0 {
		return n, errors.New("holds too much")
	}
	return n, err
}
