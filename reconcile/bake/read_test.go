package bake_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

type member struct {
	name string
	data []byte
}

// readAr walks an ar archive by ar(5), strictly.
func readAr(t tb, b []byte) (members []member) {
	t.Helper()
	rest, ok := bytes.CutPrefix(b, []byte("!<arch>\n"))
	if !ok {
		t.Fatalf("no ar magic")
	}
	for len(rest) > 0 {
		if len(rest) < 60 || string(rest[58:60]) != "`\n" {
			t.Fatalf("bad ar header %.60q", rest)
		}
		h := string(rest[:60])
		if mode := strings.TrimSpace(h[40:48]); strings.TrimSpace(h[28:34]) != "0" || strings.TrimSpace(h[34:40]) != "0" || mode != "100644" {
			t.Fatalf("ar member not root's: %q", h)
		}
		n, err := strconv.Atoi(strings.TrimSpace(h[48:58]))
		if err != nil || n+n%2 > len(rest)-60 {
			t.Fatalf("ar member size: %q", h)
		}
		members = append(members, member{strings.TrimSpace(h[:16]), rest[60 : 60+n]})
		if n%2 == 1 && rest[60+n] != '\n' {
			t.Fatalf("ar padding is %q", rest[60+n])
		}
		rest = rest[60+n+n%2:]
	}
	return members
}

type entry struct {
	*tar.Header
	data []byte
}

// readTar reads a tar that must be exactly one gzip member, and checks what every entry has in common; with dirs, also that
// each comes after its directory.
func readTar(t tb, z []byte, dirs bool) (entries []entry) {
	t.Helper()
	in := bytes.NewReader(z)
	r, err := gzip.NewReader(in)
	if err != nil {
		t.Fatalf("%v", err)
	}
	r.Multistream(false) // as dpkg reads it
	raw, err := io.ReadAll(r)
	if err != nil || in.Len() != 0 {
		t.Fatalf("gzip: %v, %d bytes behind it", err, in.Len())
	}
	if r.Name != "" || !r.ModTime.IsZero() || len(raw)%512 != 0 || !bytes.HasSuffix(raw, make([]byte, 1024)) {
		t.Fatalf("gzip header %+v, %d bytes of tar", r.Header, len(raw))
	}
	seen := map[string]bool{}
	for tr := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname == "" || h.Gname == "" || h.ModTime.Year() != 2000 || len(h.PAXRecords) != 0 {
			t.Fatalf("header %+v", h)
		}
		if dir := h.Name[:strings.LastIndexByte(strings.TrimSuffix(h.Name, "/"), '/')+1]; dirs && dir != "" && !seen[dir] {
			t.Fatalf("%s comes before its directory", h.Name)
		}
		if seen[h.Name] {
			t.Fatalf("%s comes twice", h.Name)
		}
		seen[h.Name] = true
		entries = append(entries, entry{h, data})
	}
}

// dataOf is the entries of a package's data.
func dataOf(t tb, pkg []byte, format schema.Format) []entry {
	t.Helper()
	switch format {
	case schema.Deb:
		pkg = readAr(t, pkg)[2].data
	case schema.Rpm:
		_, entries := readRpm(t, pkg)
		return entries
	}
	return readTar(t, pkg, true)
}

// drawRecipe makes up a recipe with its repo. Some paths are long or not ASCII; some files empty.
func drawRecipe(t *rapid.T) (*rules.Recipe, repo) {
	src := repo{}
	r := &rules.Recipe{Platform: schema.Platform{OS: "linux", Arch: rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(t, "arch")},
		ID: schema.RecipeID(rapid.StringMatching(`[0-9a-f]{16}`).Draw(t, "id"))}
	long := strings.Repeat("long/", 25)
	dirs := []string{"/etc/", "/etc/default/", "/usr/bin/", "/usr/share/" + long, "/usr/share/x" + strings.Repeat("y", 120) + "/", "/opt/ü/", "/"}
	names := []string{"a", "b", "agent.conf", "with space", "-dash", "100%", "star*", "quote's", strings.Repeat("n", 99), strings.Repeat("m", 130), "ß"}
	used := map[string]bool{}
	for i := range rapid.IntRange(0, 4).Draw(t, "plugins") {
		o := &fleet.Output{Plugin: fmt.Sprintf("p%d", i)}
		for range rapid.IntRange(0, 5).Draw(t, "files") {
			p := rapid.SampledFrom(dirs).Draw(t, "dir") + rapid.SampledFrom(names).Draw(t, "name") + strconv.Itoa(len(used))
			used[p] = true
			mode := fs.FileMode(rapid.SampledFrom([]int{0o644, 0o755, 0o600, 0o400, 0o777}).Draw(t, "mode"))
			content := bytes.Repeat([]byte(rapid.String().Draw(t, "content")), rapid.SampledFrom([]int{1, 1, 100}).Draw(t, "times"))
			if rapid.Bool().Draw(t, "shared") {
				o.Files = append(o.Files, src.file(p, mode, content))
			} else {
				o.Files = append(o.Files, own(p, mode, string(content)))
			}
		}
		if rapid.Bool().Draw(t, "service") {
			o.Services = []fleet.Service{{Name: o.Plugin, Exec: "/usr/bin/" + o.Plugin, Enable: rapid.Bool().Draw(t, "enable")}}
		}
		if rapid.Bool().Draw(t, "health") {
			o.Health = &schema.HealthCheck{Command: []string{"/bin/true"}, Within: 1e9}
		}
		r.Outputs = append(r.Outputs, o)
	}
	return r, src
}

func TestAPackageHasExactlyTheFilesOfItsRecipe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, src := drawRecipe(t)
		st := newMemory()
		deb := bake1(t, st, src, r, schema.Deb)
		tgz := bake1(t, st, src, r, schema.Tgz)
		members := readAr(t, deb)
		if len(members) != 3 || members[0].name != "debian-binary" || string(members[0].data) != "2.0\n" ||
			members[1].name != "control.tar.gz" || members[2].name != "data.tar.gz" {
			t.Fatalf("members of the deb: %v", members)
		}
		if !bytes.Equal(members[2].data, tgz) {
			t.Fatal("the deb's data is not the tgz")
		}
		files := checkFiles(t, r, src, readTar(t, tgz, true))
		checkControl(t, r, members[1].data, files)
	})
}

// checkFiles compares a package's entries with its recipe: directories first, config last. It returns those of files.
func checkFiles(t tb, r *rules.Recipe, src repo, entries []entry) (files []entry) {
	t.Helper()
	want := map[string]entry{}
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			content := f.Content
			if f.Shared() {
				content = src[f.Repo]
			}
			want["."+f.Path] = entry{&tar.Header{Mode: int64(f.Mode)}, content}
		}
	}
	config := false
	for _, e := range entries {
		if e.Typeflag == tar.TypeDir {
			if len(files) > 0 || e.Mode != 0o755 || !strings.HasSuffix(e.Name, "/") {
				t.Fatalf("directory %s %o", e.Name, e.Mode)
			}
			continue
		}
		files = append(files, e)
		switch w, ok := want[e.Name]; {
		case ok:
			if e.Mode != w.Mode || e.Typeflag != tar.TypeReg || !bytes.Equal(e.data, w.data) {
				t.Fatalf("%s: %o, %d bytes; want %o, %d bytes", e.Name, e.Mode, len(e.data), w.Mode, len(w.data))
			}
			delete(want, e.Name)
		case e.Name != "."+schema.HealthFile("linux") && e.Name != "."+schema.UnitsFile("linux") && !strings.HasPrefix(e.Name, "./usr/lib/systemd/system/p") &&
			!strings.HasPrefix(e.Name, "./usr/share/doc/bakehouse-agent/"):
			t.Fatalf("%s is in the package", e.Name)
		}
		_, shared := src[e.Name[1:]]
		if config && !strings.HasPrefix(e.Name, "./etc/") {
			t.Fatalf("%s comes after config", e.Name)
		}
		config = config || !shared && strings.HasPrefix(e.Name, "./etc/")
	}
	if len(want) > 0 {
		t.Fatalf("not in the package: %v", want)
	}
	return files
}

// checkControl compares control.tar.gz with the data's files.
func checkControl(t tb, r *rules.Recipe, z []byte, files []entry) {
	t.Helper()
	control := map[string]string{}
	for _, e := range readTar(t, z, false) {
		control[e.Name] = string(e.data)
		script := slices.Contains([]string{"./preinst", "./postinst", "./prerm", "./postrm"}, e.Name)
		if e.Typeflag == tar.TypeReg && (e.Mode == 0o755) != script {
			t.Fatalf("%s has mode %o", e.Name, e.Mode)
		}
	}
	fields := map[string]string{}
	for line := range strings.Lines(control["./control"]) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok && line[0] != ' ' {
			fields[name] = value
		}
	}
	if fields["Package"] != "bakehouse-agent" || fields["Architecture"] != r.Platform.Arch ||
		!strings.HasSuffix(fields["Version"], "+"+string(r.ID)) || fields["Description"] == "" || fields["Section"] == "" ||
		fields["Priority"] == "" || fields["Maintainer"] == "" {
		t.Fatalf("control:\n%s", control["./control"])
	}
	var sums []string
	kib := 0
	for _, f := range files {
		sums = append(sums, fmt.Sprintf("%x  %s\n", md5.Sum(f.data), f.Name[2:]))
		kib += (len(f.data) + 1023) / 1024
	}
	slices.SortFunc(sums, func(a, b string) int { return strings.Compare(a[34:], b[34:]) })
	got := slices.Collect(strings.Lines(control["./md5sums"]))
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(a[34:], b[34:]) })
	if !slices.Equal(got, sums) {
		t.Fatalf("md5sums:\n%swant:\n%s", strings.Join(got, ""), strings.Join(sums, ""))
	}
	if n, err := strconv.Atoi(fields["Installed-Size"]); err != nil || n <= kib || n > kib+300 {
		t.Fatalf("Installed-Size %s of %d KiB", fields["Installed-Size"], kib)
	}
	if _, ok := control["./conffiles"]; ok {
		t.Fatalf("there are conffiles")
	}
}
