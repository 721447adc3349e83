package bake

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// level is fixed for good: another one makes other bytes. A shared segment is compressed once in the life of its store,
// so the slowest level costs nothing that counts.
const level = 9

// deflaters are reused because a new one at this level allocates over a megabyte.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, level)
	if err != nil {
		panic(err) // only for a level out of range
	}
	return w
}}

// window is how far back deflate refers at most, in bytes.
const window = 32 << 10

// deflateTo compresses all of r to w as raw deflate blocks that refer back to history (its last window) but to nothing
// before it; with no history they stand in any stream. If last, the final block ends the stream; else an empty stored
// block (a sync flush) ends it on a byte boundary, so that anything may follow.
func deflateTo(w io.Writer, r io.Reader, history []byte, last bool) error {
	z := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(z)
	z.ResetDict(w, history) // not Reset, which would keep the history of the last use
	// Chunks of one size: the bytes must not depend on how the source hands out its reads.
	chunk := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(chunk)
	for {
		n, err := io.ReadFull(r, chunk[:])
		if _, err := z.Write(chunk[:n]); err != nil {
			return err
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if last {
		return z.Close()
	}
	return z.Flush()
}

const chunkSize = 32 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// deflate is deflateTo for bytes at hand.
func deflate(raw, history []byte, last bool) []byte {
	var b bytes.Buffer
	if err := deflateTo(&b, bytes.NewReader(raw), history, last); err != nil {
		panic(err) // a bytes.Buffer does not fail
	}
	return b.Bytes()
}

// lastWindow keeps the end of what is written to it.
type lastWindow []byte

func (l *lastWindow) Write(b []byte) (int, error) {
	if len(b) >= window {
		*l = append((*l)[:0], b[len(b)-window:]...)
		return len(b), nil
	}
	if over := len(*l) + len(b) - window; over > 0 {
		*l = append((*l)[:0], (*l)[over:]...)
	}
	*l = append(*l, b...)
	return len(b), nil
}
