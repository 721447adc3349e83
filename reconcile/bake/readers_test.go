package bake_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// manyNames is the class of which no pkg can be made.
const manyNames = "names of every length and alphabet"

// classes are recipes that make packages of every kind of content.
func classes(src repo) map[string]*rules.Recipe {
	long := "/usr/share/" + strings.Repeat("long/", 30)
	other := func(id string, files ...fleet.File) *rules.Recipe {
		return &rules.Recipe{ID: schema.RecipeID(id), Platform: linux, Outputs: []*fleet.Output{{Plugin: "p", Files: files}}}
	}
	return map[string]*rules.Recipe{
		"two plugins, one of them the updater": example(src, someID, ":9100"),
		"a plugin without shared files":        other("1111111111111111", own("/etc/p.conf", 0o640, "a = 1\n")),
		"shared files only":                    other("2222222222222222", src.file("/opt/p/p", 0o755, noise(7, 70_000))),
		manyNames: other("3333333333333333", own("/etc/p/"+strings.Repeat("n", 120), 0o644, "own, long"),
			src.file(long+"name", 0o644, []byte("shared, long")), src.file(long+strings.Repeat("m", 130), 0o600, []byte("both")),
			src.file("/opt/ü/ß €", 0o644, []byte("not ASCII")), own("/etc/p/with space", 0o644, "")),
		"files of no, one and just too many bytes": other("4444444444444444", own("/etc/a", 0o644, ""), own("/etc/b", 0o644, "b"),
			own("/etc/c", 0o644, strings.Repeat("c", 512)), own("/etc/d", 0o644, strings.Repeat("d", 513)), src.file("/opt/e", 0o644, nil),
			src.file("/opt/f", 0o644, noise(8, 32<<10)), src.file("/opt/g", 0o644, noise(9, 65_537))),
		"nothing at all": {ID: "5555555555555555", Platform: linux},
	}
}

// Go's readers said what is in the packages; here everybody else has to say the same.
func TestOtherReadersUnpackWhatGoReads(t *testing.T) {
	// Each is given an archive and an empty folder.
	data := map[string][]string{
		"GNU tar":     {"tar", "--extract", "--gzip", "--no-same-owner", "--preserve-permissions", "--file", "FILE", "--directory", "DIR"},
		"bsdtar":      {"bsdtar", "-xpf", "FILE", "--no-same-owner", "-C", "DIR"},
		"busybox tar": {"busybox", "tar", "-x", "-z", "-p", "-o", "-f", "FILE", "-C", "DIR"},
		"python":      {"python3", "-c", "import sys, tarfile\ntarfile.open(sys.argv[1]).extractall(sys.argv[2])", "FILE", "DIR"},
	}
	readers := map[schema.Format]map[string][]string{
		schema.Tgz: data,
		schema.Deb: {"dpkg-deb": {"dpkg-deb", "--extract", "FILE", "DIR"}},
	}
	src := repo{}
	for name, r := range classes(src) {
		for format, all := range readers {
			st := newMemory()
			pkg := assembled(t, st, baked(t, st, src, r, format))
			want := map[string]string{}
			for _, e := range dataOf(t, pkg, format) {
				want[filepath.Clean(e.Name)] = fmt.Sprintf("%v %x", e.FileInfo().Mode(), schema.DigestOf(e.data))
			}
			f := write(t, "package", pkg)
			for reader, argv := range all {
				t.Run(fmt.Sprintf("%s/%s/%s", reader, format, name), func(t *testing.T) {
					needs.Tool(t, argv[0])
					dir := t.TempDir()
					words := strings.NewReplacer("FILE", f, "DIR", dir)
					args := make([]string, len(argv))
					for i, a := range argv {
						args[i] = words.Replace(a)
					}
					run(t, args...)
					compareTree(t, dir, want)
				})
			}
			if format == schema.Deb {
				t.Run("bsdtar/the members of a deb/"+name, func(t *testing.T) {
					dir := t.TempDir()
					run(t, needs.Tool(t, "bsdtar"), "-xf", f, "-C", dir)
					for _, m := range readAr(t, pkg) {
						if got, err := os.ReadFile(filepath.Join(dir, m.name)); err != nil || !bytes.Equal(got, m.data) {
							t.Errorf("%s: %d of %d bytes, %v", m.name, len(got), len(m.data), err)
						}
					}
				})
			}
		}
	}
}

// compareTree compares a folder with modes and digests by path.
func compareTree(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	n := 0
	if err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil || name == "." {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(p); err != nil {
				return err
			}
		}
		n++
		if got := fmt.Sprintf("%v %x", info.Mode(), schema.DigestOf(content)); got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(want)-1 { // the folder itself is an entry, too
		t.Errorf("%d entries, want %d", n, len(want)-1)
	}
}
