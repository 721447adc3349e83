package archive

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// run runs a shell command that needs a tool; in it $1 and on are args.
func run(t *testing.T, dir, tool, script string, args ...string) {
	t.Helper()
	needs.Tool(t, tool)
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-euc", script, "sh"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+t.TempDir()) // rpmbuild keeps a database there
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// tree fills a folder with files of all sizes and names, links and holes.
func tree(t *testing.T, seed uint64) (dir string) {
	t.Helper()
	dir = t.TempDir()
	rnd := rand.New(rand.NewPCG(seed, 1))
	write := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
			if rnd.IntN(3) > 0 && i > 0 {
				b[i] = b[i-1]
			}
		}
		return b
	}
	for i, size := range []int{0, 1, 511, 512, 513, 4096, 70000, 300000 + rnd.IntN(1000)} {
		write(fmt.Sprintf("usr/lib/%d/file %d", rnd.IntN(3), i), random(size))
	}
	write("usr/share/"+strings.Repeat("a-long-name/", 15)+"file", []byte("far away"))
	write("usr/share/"+strings.Repeat("n", 150), []byte("a long name"))
	write("usr/share/größe ✓", []byte("another script"))
	program := write("usr/bin/program", random(100000))
	for name, err := range map[string]error{
		"a link beside":  os.Symlink("program", filepath.Join(dir, "usr/bin/beside")),
		"a link up":      os.Symlink("../../usr/bin/program", filepath.Join(dir, "usr/lib/up")),
		"a linked dir":   os.Symlink("usr/bin", filepath.Join(dir, "bin")),
		"a second name":  os.Link(program, filepath.Join(dir, "usr/bin/a-second-name")),
		"another":        os.Link(program, filepath.Join(dir, "usr/share/third")),
		"a file of hole": os.Truncate(write("usr/lib/hole", []byte("then nothing")), 1<<20),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return dir
}

// files are the paths of a tree that a plugin may name, each with its content's digest: links are followed.
func files(t *testing.T, dir string) map[string]schema.Digest {
	t.Helper()
	out := map[string]schema.Digest{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		out[rel] = schema.DigestOf(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	out["bin/program"] = out["usr/bin/program"]
	return out
}

// holds checks that an archive has exactly the bytes of those files.
func holds(t *testing.T, archive, kind string, want map[string]schema.Digest) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	table, err := Read(t.Context(), f, info.Size())
	if err != nil || table.Kind != kind {
		t.Fatalf("%s: kind %v, %v", filepath.Base(archive), table, err)
	}
	for name, sum := range want {
		m, err := table.Find(name)
		if err != nil || m.SHA256 != sum {
			t.Errorf("%q: %+v, %v", name, m, err)
		}
	}
	for _, name := range []string{"usr/share/third", "usr/lib/hole"} {
		var b bytes.Buffer
		m, err := table.Find(name)
		if err == nil {
			err = table.Copy(t.Context(), &b, f, info.Size(), m)
		}
		if err != nil || schema.DigestOf(b.Bytes()) != want[name] {
			t.Errorf("copying %q: %d bytes, %v", name, b.Len(), err)
		}
	}
}

func TestEveryFileOfATreeIsTheSameOutOfWhatTheRealToolsMake(t *testing.T) {
	needs.All(t, "packs trees with tar, zip, dpkg-deb and rpmbuild in 24 ways")
	for _, c := range []struct{ kind, tool, script string }{
		{"tar", "tar", `tar --format=gnu -cf "$2" -C "$1" .`},
		{"tar", "tar", `tar --format=posix -cf "$2" -C "$1" .`},
		{"tar", "tar", `tar --format=gnu -S -cf "$2" -C "$1" usr bin`},
		{"tar", "tar", `tar --format=posix -S -czf "$2" -C "$1" usr bin`},
		{"tar", "bsdtar", `bsdtar --format=pax -cf "$2" -C "$1" .`},
		{"tar", "bsdtar", `bsdtar --format=gnutar -czf "$2" -C "$1" .`},
		{"tar", "bzip2", `tar -cjf "$2" -C "$1" .`},
		{"tar", "zstd", `tar -c -C "$1" . | zstd -19 --long=27 -q >"$2"`},
		{"tar", "zstd", `tar -c -C "$1" . | split -b 300k --filter='zstd -q' - >"$2"`}, // several frames
		{"tar", "xz", `tar -c -C "$1" . | xz -9e --check=sha256 >"$2"`},
		{"tar", "xz", `tar -c -C "$1" . | xz -1 --check=none --block-size=100KiB >"$2"`},
		{"tar", "xz", `tar -c -C "$1" . | xz -T2 --check=crc32 --block-size=200KiB >"$2"`},
		{"tar", "xz", `tar -c -C "$1" . | split -b 300k --filter='xz; head -c 8 /dev/zero' - >"$2"`}, // streams and padding
		{"tar", "gzip", `tar -c -C "$1" . | split -b 300k --filter='gzip' - >"$2"`},
		{"zip", "zip", `cd "$1" && zip -q -r -y - . >"$2"`},
		{"zip", "bsdtar", `bsdtar --format=zip -cf "$2" -C "$1" .`},
		{"deb", "dpkg-deb", `dpkg-deb --root-owner-group -Znone -b "$1" "$2"`},
		{"deb", "dpkg-deb", `dpkg-deb --root-owner-group -Zgzip -b "$1" "$2"`},
		{"deb", "dpkg-deb", `dpkg-deb --root-owner-group -Zxz -b "$1" "$2"`},
		{"deb", "dpkg-deb", `dpkg-deb --root-owner-group -Zzstd -b "$1" "$2"`},
		{"rpm", "rpmbuild", rpmbuild + ` w9.gzdio`},
		{"rpm", "rpmbuild", rpmbuild + ` w6.xzdio`},
		{"rpm", "rpmbuild", rpmbuild + ` w9.bzdio`},
		{"rpm", "rpmbuild", rpmbuild + ` w19.zstdio`},
	} {
		t.Run(c.tool+strings.TrimPrefix(c.script, rpmbuild), func(t *testing.T) {
			t.Parallel()
			dir := tree(t, uint64(len(c.script)))
			want := files(t, dir)
			if c.kind == "deb" {
				if err := os.Mkdir(filepath.Join(dir, "DEBIAN"), 0o755); err != nil {
					t.Fatal(err)
				}
				control := "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n"
				if err := os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			archive := filepath.Join(t.TempDir(), "archive")
			run(t, t.TempDir(), c.tool, c.script, dir, archive)
			holds(t, archive, c.kind, want)
		})
	}
}

// rpmbuild makes a package of $1 at $2; how the payload is packed comes behind it.
const rpmbuild = `build() {
	cat >x.spec <<'END'
Name: x
Version: 1
Release: 1
Summary: x
License: x
BuildArch: noarch
%description
x
%install
mkdir -p %{buildroot}
cp -a %{from}/. %{buildroot}/
%files
/usr
/bin
END
	rpmbuild --quiet -bb --define "_topdir $PWD/top" --define "from $1" --define "_binary_payload $3" \
		--define '__os_install_post %{nil}' \
		--define 'debug_package %{nil}' --define '__brp_mangle_shebangs %{nil}' --define '_build_id_links none' x.spec
	cp top/RPMS/noarch/x-1-1.noarch.rpm "$2"
}
build "$1" "$2"`
