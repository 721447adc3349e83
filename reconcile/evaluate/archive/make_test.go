package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"bakehouse/reconcile/evaluate/archive/stream"
	"bakehouse/schema"
)

// made is a member to put into an archive: a link if it has a target, else a file.
type made struct {
	name, content, link string
	kind                kind // other: by the rest
}

func (m made) is() kind {
	switch {
	case m.kind != other:
		return m.kind
	case m.link != "":
		return symlink
	}
	return regular
}

func makeTar(t testing.TB, members ...made) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Linkname: m.link, Mode: 0o644,
			Typeflag: map[kind]byte{regular: tar.TypeReg, symlink: tar.TypeSymlink, hardlink: tar.TypeLink,
				directory: tar.TypeDir}[m.is()]}
		if m.is() == regular {
			h.Size = int64(len(m.content))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.is() == regular {
			io.WriteString(w, m.content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func makeZip(t testing.TB, members ...made) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		content := m.content
		switch m.is() {
		case symlink:
			h.SetMode(fs.ModeSymlink | 0o777)
			content = m.link
		case directory:
			h.SetMode(fs.ModeDir | 0o755)
		default:
			h.SetMode(0o644)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// part is a member of an ar archive.
type part struct {
	name string
	data []byte
}

func makeAr(parts ...part) []byte {
	b := []byte(stream.ArMagic)
	for _, p := range parts {
		b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", p.name, 0, 0, 0, 0o100644, len(p.data))
		b = append(b, p.data...)
		if len(p.data)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

func makeDeb(data []byte) []byte {
	return makeAr(part{"debian-binary", []byte("2.0\n")}, part{"control.tar", []byte{}}, part{"data.tar", data})
}

// makeRPM is a package with headers that list nothing: only the payload is read.
func makeRPM(payload []byte) []byte {
	b := append([]byte(stream.RPMMagic), make([]byte, 92)...)
	intro := append([]byte(headerMagic), make([]byte, 12)...)
	intro[15] = 5 // bytes of data, so that the signature needs padding
	b = append(append(b, intro...), 1, 2, 3, 4, 5, 0, 0, 0)
	b = append(append(b, intro...), 1, 2, 3, 4, 5)
	return append(b, payload...)
}

// cpioMember is a member of a "new" cpio archive.
type cpioMember struct {
	name, content      string
	mode, inode, links int
}

func makeCpio(members ...cpioMember) []byte {
	var b []byte
	pad := func() {
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	for _, m := range append(members, cpioMember{name: "TRAILER!!!"}) {
		b = fmt.Appendf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", m.inode, m.mode, 0, 0, m.links, 0,
			len(m.content), 8, 1, 0, 0, len(m.name)+1, 0)
		b = append(append(b, m.name...), 0)
		pad()
		b = append(b, m.content...)
		pad()
	}
	return b
}

// packings are the compressions that Go can write.
var packings = map[string]func(io.Writer) io.WriteCloser{
	"plain": func(w io.Writer) io.WriteCloser { return struct{ io.WriteCloser }{nopClose{w}} },
	"gzip":  func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"zstd": func(w io.Writer) io.WriteCloser {
		z, _ := zstd.NewWriter(w)
		return z
	},
	"xz": func(w io.Writer) io.WriteCloser {
		z, _ := xz.NewWriter(w)
		return z
	},
}

type nopClose struct{ io.Writer }

func (nopClose) Close() error { return nil }

func pack(t testing.TB, how string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := packings[how](&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// take is a member's content by Read, Find and Copy, which must agree.
func take(t testing.TB, b []byte, name string) (string, error) {
	t.Helper()
	r := bytes.NewReader(b)
	table, err := Read(t.Context(), r, int64(len(b)))
	if err != nil {
		return "", err
	}
	m, err := table.Find(name)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := table.Copy(t.Context(), &out, r, int64(len(b)), m); err != nil {
		t.Fatalf("found %+v, but copying it fails: %v", m, err)
	}
	if m.Size != int64(out.Len()) || m.SHA256 != schema.DigestOf(out.Bytes()) {
		t.Fatalf("%+v is not what was copied: %q", m, out.Bytes())
	}
	return out.String(), nil
}

// headerMagic begins a header of an rpm.
const headerMagic = "\x8e\xad\xe8\x01"
