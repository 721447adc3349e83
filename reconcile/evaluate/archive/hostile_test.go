package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"bakehouse/reconcile/evaluate/archive/stream"

	"github.com/ulikunitz/xz"
)

// small are bounds that a test can exceed.
var small = bounds{Packed: 1 << 20, Inflated: 1 << 20, Members: 100, Names: 10000, Links: 10}

func TestAHostileArchiveIsRefused(t *testing.T) {
	zeros := strings.Repeat("\x00", 2<<20)
	many := make([]made, 200)
	for i := range many {
		many[i].name = fmt.Sprint(i)
	}
	long := make([]made, 20)
	for i := range long {
		long[i].name = fmt.Sprint(i) + strings.Repeat("/directory", 80)
	}
	bomb := makeTar(t, made{name: "x", content: zeros})
	ok := makeTar(t, made{name: "x", content: "y"})
	xzWith := func(dictionary byte) []byte {
		b := pack(t, "xz", ok)
		i := bytes.Index(b, []byte{0x21, 0x01}) // the filter of the first block, and how long its properties are
		b[i+2] = dictionary
		return b
	}
	huge := make([]byte, 16) // a header of RPM with 4 billion entries
	copy(huge, headerMagic)
	copy(huge[8:], "\xff\xff\xff\xff")
	cases := map[string]struct {
		b    []byte
		want string
	}{
		"too much in gzip":  {pack(t, "gzip", bomb), "holds too much"},
		"too much in xz":    {pack(t, "xz", bomb), "holds too much"},
		"too much in zstd":  {pack(t, "zstd", bomb), "holds too much"},
		"too much in a deb": {makeDeb(pack(t, "gzip", bomb)), "holds too much"},
		"too much in a zip": {makeZip(t, made{name: "x", content: zeros}), "holds too much"},
		"too much in an rpm": {makeRPM(pack(t, "gzip",
			makeCpio(cpioMember{name: "x", content: zeros, mode: 0o100644}))), "holds too much"},
		"too many members":          {pack(t, "gzip", makeTar(t, many...)), "too many members"},
		"too many members in a zip": {makeZip(t, many...), "its directory is too large"},
		"names that are too long":   {makeTar(t, long...), "too long names"},
		"too large itself":          {append(bytes.Clone(bomb), bomb...), "more than 1048576 bytes"},
		"a dictionary of 4 GB":      {xzWith(40), "a dictionary of 4096 MiB"},
		"a dictionary of 192 MB":    {xzWith(31), "a dictionary of 192 MiB"},
		"an xz with another filter": {bytes.Replace(pack(t, "xz", ok), []byte{0x21, 0x01}, []byte{0x04, 0x00}, 1),
			"another filter"},
		"nothing":    {nil, "no archive of a known kind"},
		"five bytes": {[]byte("hello"), "no archive of a known kind"},
		"a text":     {[]byte(strings.Repeat("a text\n", 100)), "no archive of a known kind"},
		"what is compressed but no tar": {pack(t, "gzip", []byte(strings.Repeat("a text\n", 100))),
			"no archive of a known kind"},
		"ar without files":       {makeAr(), "without data.tar"},
		"ar that is no package":  {makeAr(part{"x.o", []byte("x")}), "no Debian package"},
		"a package of version 3": {makeAr(part{"debian-binary", []byte("3.0\n")}), "no Debian package of version 2"},
		"two data members": {makeAr(part{"debian-binary", []byte("2.0\n")}, part{"control.tar", nil},
			part{"data.tar", ok}, part{"data.tar.gz", ok}), "is not what a Debian package has there"},
		"data before control": {makeAr(part{"debian-binary", []byte("2.0\n")}, part{"data.tar", ok},
			part{"control.tar", nil}), "is not what a Debian package has there"},
		"an ar member without end": {[]byte(strings.Replace(string(makeDeb(ok)), "4         `", "9999999999`", 1)),
			"ends too early"},
		"an ar member of no size": {[]byte(strings.Replace(string(makeDeb(ok)), "4         `", "-4        `", 1)),
			"damaged header"},
		"an rpm with a huge header": {append(append([]byte(stream.RPMMagic), make([]byte, 92)...), huge...),
			"ends too early"},
		"an rpm without headers": {append([]byte(stream.RPMMagic), make([]byte, 200)...),
			"a header is not where it belongs"},
		"an rpm for huge files": {makeRPM([]byte("07070X" + strings.Repeat("0", 200))), "rpm2archive"},
		"an rpm packed otherwise": {makeRPM([]byte("\x5d\x00\x00\x80\x00" + strings.Repeat("x", 200))),
			"the payload is no cpio archive"},
		"a cpio name without end": {makeRPM([]byte(strings.Replace(string(makeCpio(cpioMember{name: "abc", mode: 0o100644})),
			"0000000400000000abc", "0fffffff00000000abc", 1))), "a member's name of"},
		"a cpio link without end": {makeRPM(makeCpio(cpioMember{name: "l", content: strings.Repeat("x", 5000),
			mode: 0o120777})), "a link of 5000 bytes"},
		"a cpio that stops": {makeRPM(makeCpio(cpioMember{name: "abc", content: "x", mode: 0o100644})[:100]),
			"ends too early"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			table, err := read(t.Context(), bytes.NewReader(c.b), int64(len(c.b)), small)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v; want %s", table, err, c.want)
			}
		})
	}
}

func TestWhatIsThereTwiceIsRefusedAndTheRestIsNot(t *testing.T) {
	for what, b := range map[string][]byte{
		"tar": makeTar(t, made{name: "./a", content: "1"}, made{name: "b", content: "b"}, made{name: "a", content: "2"},
			made{name: "d/", kind: directory}, made{name: "d", kind: directory}, made{name: "d/c", content: "c"}),
		"zip": makeZip(t, made{name: "a", content: "1"}, made{name: "b", content: "b"}, made{name: "a", link: "b"},
			made{name: "d/c", content: "c"}),
	} {
		if got, err := take(t, b, "a"); err == nil || !strings.Contains(err.Error(), `the archive has "a" twice`) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		for _, name := range []string{"b", "d/c"} {
			if got, err := take(t, b, name); err != nil || got != name[len(name)-1:] {
				t.Errorf("%s: %s: %q, %v", what, name, got, err)
			}
		}
	}
}

func TestANameThatLeadsOutIsNobodys(t *testing.T) {
	b := makeTar(t, made{name: "../up", content: "1"}, made{name: "a/../../up", content: "2"},
		made{name: "/abs", content: "3"}, made{name: "a/../in", content: "4"})
	for _, name := range []string{"up", "../up", "a/../../up"} {
		if got, err := take(t, b, name); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, want := range map[string]string{"abs": "3", "in": "4"} {
		if got, err := take(t, b, name); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestMembersOfOneInodeShareTheContentOfTheLast(t *testing.T) {
	b := makeRPM(makeCpio(
		cpioMember{name: "./a", mode: 0o100755, inode: 0, links: 3},
		cpioMember{name: "./b", mode: 0o100755, inode: 1, links: 2},
		cpioMember{name: "./c", mode: 0o100755, inode: 0, links: 3},
		cpioMember{name: "./d", content: "of 1", mode: 0o100755, inode: 1, links: 2},
		cpioMember{name: "./e", content: "of 0", mode: 0o100755, inode: 0, links: 3},
		cpioMember{name: "./l", content: "a", mode: 0o120777},
		cpioMember{name: "./empty", mode: 0o100755, inode: 2, links: 2}, cpioMember{name: "./device", mode: 0o020600}))
	for name, want := range map[string]string{"a": "of 0", "b": "of 1", "c": "of 0", "d": "of 1", "e": "of 0",
		"l": "of 0", "empty": ""} {
		if got, err := take(t, b, name); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := take(t, b, "device"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a device: %q, %v", got, err)
	}
}

func TestATruncatedArchiveNeverYieldsAMemberThatWasCut(t *testing.T) {
	content := strings.Repeat("0123456789", 200)
	members := []made{{name: "a", content: content}}
	for what, b := range map[string][]byte{
		"tar": makeTar(t, members...), "gzip": pack(t, "gzip", makeTar(t, members...)),
		"xz":   pack(t, "xz", makeTar(t, members...)),
		"zstd": pack(t, "zstd", makeTar(t, members...)), "zip": makeZip(t, members...),
		"deb": makeDeb(pack(t, "gzip", makeTar(t, members...))),
		"rpm": makeRPM(pack(t, "zstd", makeCpio(cpioMember{name: "a", content: content, mode: 0o100644}))),
	} {
		for n := range len(b) {
			if got, err := take(t, b[:n], "a"); err == nil && got != content {
				t.Errorf("%s cut to %d of %d bytes yields %d", what, n, len(b), len(got))
			}
		}
	}
}

// flip is an archive that is another one the second time.
type flip struct {
	first, then []byte
	turned      bool
}

func (f *flip) ReadAt(p []byte, at int64) (int, error) {
	b := f.first
	if f.turned {
		b = f.then
	}
	return bytes.NewReader(b).ReadAt(p, at)
}

func TestAnArchiveThatChangesBetweenReadAndCopyIsNoticed(t *testing.T) {
	f := &flip{first: makeTar(t, made{name: "a", content: "good"}), then: makeTar(t, made{name: "a", content: "evil"})}
	table, err := Read(t.Context(), f, int64(len(f.first)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := table.Find("a")
	if err != nil {
		t.Fatal(err)
	}
	f.turned = true
	if err := table.Copy(t.Context(), io.Discard, f, int64(len(f.first)), m); err == nil ||
		!strings.Contains(err.Error(), "changed while it was read") {
		t.Error(err)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, b := range map[string][]byte{"tar": makeTar(t, made{name: "a", content: "b"}),
		"zip": makeZip(t, made{name: "a", content: "b"}), "xz": pack(t, "xz", makeTar(t, made{name: "a"}))} {
		if _, err := Read(ctx, bytes.NewReader(b), int64(len(b))); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMemoryIsFlatInTheSizeOfAMember(t *testing.T) {
	allocated := func(size int) uint64 {
		b := pack(t, "gzip", makeTar(t, made{name: "a", content: strings.Repeat("0123456789abcdef", size/16)}))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		table, err := Read(t.Context(), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := table.Find("a")
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Copy(t.Context(), io.Discard, bytes.NewReader(b), int64(len(b)), m); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	allocated(1 << 20)
	if one, many := allocated(1<<20), allocated(32<<20); many > one+1<<20 {
		t.Errorf("1 MB takes %d bytes, 32 MB take %d", one, many)
	}
}

func FuzzRead(f *testing.F) {
	members := []made{{name: "./d/", kind: directory}, {name: "./d/a", content: strings.Repeat("content ", 50)},
		{name: "l", link: "d/a"}, {name: "h", link: "d/a", kind: hardlink}, {name: "x", link: "d"}}
	plain := makeTar(f, members...)
	cpio := makeCpio(cpioMember{name: "./a", mode: 0o100755, inode: 1, links: 2},
		cpioMember{name: "./b", content: "b", mode: 0o100755, inode: 1, links: 2},
		cpioMember{name: "l", content: "a", mode: 0o120777})
	for how := range packings {
		f.Add(pack(f, how, plain))
		f.Add(makeDeb(pack(f, how, plain)))
		f.Add(makeRPM(pack(f, how, cpio)))
	}
	f.Add(makeZip(f, members...))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := read(t.Context(), bytes.NewReader(b), int64(len(b)), small)
		if err != nil {
			return
		}
		for _, e := range table.entries {
			m, err := table.Find(e.name)
			if err != nil {
				continue
			}
			if strings.HasPrefix(m.Name, "../") || strings.HasPrefix(m.Name, "/") || table.entries[m.at].kind != regular {
				t.Errorf("%q leads to %+v", e.name, m)
			}
			if err := table.Copy(t.Context(), io.Discard, bytes.NewReader(b), int64(len(b)), m); err != nil {
				t.Errorf("%q was found, but: %v", e.name, err)
			}
		}
		_, _ = table.Find("d/b")
	})
}

// The guard lets through what it should, byte by byte.
func FuzzXZGuard(f *testing.F) {
	one, two := pack(f, "xz", []byte(strings.Repeat("one", 1000))), pack(f, "xz", []byte("two"))
	f.Add(one)
	f.Add(append(append(bytes.Clone(one), 0, 0, 0, 0), two...))
	f.Fuzz(func(t *testing.T, b []byte) {
		passed, err := io.ReadAll(&xzGuard{in: section(t.Context(), bytes.NewReader(b), 0, int64(len(b)))})
		if !bytes.HasPrefix(b, passed) {
			t.Fatalf("%d bytes of %d are others", len(passed), len(b))
		}
		if err != nil { // then the rest was not shown to the decoder
			return
		}
		if len(passed) != len(b) {
			t.Fatalf("%d of %d bytes, without an error", len(passed), len(b))
		}
		direct := func(r io.Reader) ([]byte, error) {
			z, err := xz.NewReader(r)
			if err != nil {
				return nil, err
			}
			return io.ReadAll(io.LimitReader(z, 1<<20))
		}
		want, wantErr := direct(bytes.NewReader(b))
		got, gotErr := direct(&xzGuard{in: section(t.Context(), bytes.NewReader(b), 0, int64(len(b)))})
		if !bytes.Equal(got, want) || (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%d bytes and %v, instead of %d and %v", len(got), gotErr, len(want), wantErr)
		}
	})
}
