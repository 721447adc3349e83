package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

var (
	rpmMagic    = []byte("\xed\xab\xee\xdb")
	headerMagic = []byte("\x8e\xad\xe8\x01")
)

// rpmPayload finds the files of an RPM package: after the lead (96 bytes), the signature's header, padded to 8, and the
// package's header comes a compressed cpio archive.
func rpmPayload(ctx context.Context, r io.ReaderAt, size int64, b bounds) (walker, error) {
	at := int64(96)
	for i := range 2 {
		intro := make([]byte, 16)
		if _, err := r.ReadAt(intro, at); err != nil {
			return nil, early(err)
		}
		if !bytes.HasPrefix(intro, headerMagic) {
			return nil, errors.New("a header is not where it belongs")
		}
		entries, data := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
		at += 16 + 16*int64(entries) + int64(data)
		if i == 0 {
			at = (at + 7) &^ 7
		}
	}
	if at >= size {
		return nil, io.ErrUnexpectedEOF
	}
	in, done, err := stream(ctx, r, at, size-at, b)
	if err != nil {
		return nil, err
	}
	if head, err := in.Peek(6); err != nil || string(head[:5]) != "07070" {
		done()
		if err != nil {
			return nil, early(err)
		}
		return nil, errors.New("the payload is no cpio archive that gzip, xz, zstd or bzip2 packed")
	}
	return &cpioWalker{in: in, done: done}, nil
}

// cpioWalker reads the "new" portable format (cpio(5)), with or without checksums, which rpm writes.
type cpioWalker struct {
	in        *bufio.Reader
	done      func()
	left, pad int64 // of the member
}

const maxName = 4096

func (w *cpioWalker) next() (item, error) {
	if _, err := io.CopyN(io.Discard, w.in, w.left+w.pad); err != nil {
		return item{}, early(err)
	}
	w.left, w.pad = 0, 0
	head := make([]byte, 110)
	if _, err := io.ReadFull(w.in, head); err != nil {
		return item{}, early(err)
	}
	switch magic := string(head[:6]); magic {
	case "070701", "070702":
	case "07070X":
		return item{}, errors.New("its files are listed in the header only, as for sizes over 4 GB: take them from a tar that rpm2archive makes")
	default:
		return item{}, fmt.Errorf("no header where a member begins")
	}
	var f [13]uint32 // inode, mode, user, group, links, time, size, device (2), device it is (2), length of the name, checksum
	for i := range f {
		n, err := strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return item{}, errors.New("a damaged header of a member")
		}
		f[i] = uint32(n)
	}
	length := int64(f[11])
	if length < 1 || length > maxName {
		return item{}, fmt.Errorf("a member's name of %d bytes", length)
	}
	name := make([]byte, length+pad4(110+length))
	if _, err := io.ReadFull(w.in, name); err != nil {
		return item{}, early(err)
	}
	it := item{name: strings.TrimSuffix(string(name[:length]), "\x00")}
	if it.name == "TRAILER!!!" {
		return item{}, io.EOF
	}
	w.left, w.pad = int64(f[6]), pad4(int64(f[6]))
	switch f[1] & 0o170000 {
	case 0o100000:
		it.kind = regular
		if f[4] > 1 {
			it.inode = [3]uint32{f[0] + 1, f[7], f[8]} // never zero, but for a last inode that nothing has
		}
	case 0o040000:
		it.kind = directory
	case 0o120000:
		if w.left > maxName {
			return item{}, fmt.Errorf("a link of %d bytes", w.left)
		}
		target, err := io.ReadAll(w)
		if err != nil {
			return item{}, err
		}
		it.kind, it.link = symlink, string(target)
	}
	return it, nil
}

func pad4(n int64) int64 { return -n & 3 }

func (w *cpioWalker) Read(p []byte) (int, error) {
	if w.left == 0 {
		return 0, io.EOF
	}
	n, err := w.in.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	return n, early(err)
}

func (w *cpioWalker) close() { w.done() }
