package plan

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func printed(t *testing.T, print func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWhatNobodyHasFetchedIsToldByWhereItComesFrom(t *testing.T) {
	from := func(archive string) []*fleet.Output {
		d := schema.DigestOf([]byte(archive))
		return []*fleet.Output{{Plugin: "p", Files: []fleet.File{{Path: "/usr/bin/x", Mode: 0o755, URL: "https://example.com/" + archive, Archive: d,
			Member: "usr/bin/@acme", SHA256: schema.DigestOf([]byte(d.String() + "x")), Size: -1}}}}
	}
	r := build(side(map[string][]*fleet.Output{"a": from("1.deb")}, nil), side(map[string][]*fleet.Output{"a": from("2.deb")}, nil))
	const was, is = "usr/bin/@acme of the archive ", " at https://example.com/1.deb -> usr/bin/@acme of the archive "
	if text := printed(t, r.Text); !strings.Contains(text, was) || !strings.Contains(text, is) || !strings.Contains(text, " at https://example.com/2.deb\n") {
		t.Errorf("text:\n%s", text)
	}
	md := printed(t, r.Markdown)
	i := strings.Index(md, "usr/bin/&#64;acme of the archive ")
	if i < 0 || strings.LastIndex(md[:i], "<code>") < strings.LastIndex(md[:i], "</code>") {
		t.Errorf("a name inside an archive is not shown as code:\n%s", md)
	}
}

func TestATextOutOfAnArchiveIsShownLineByLine(t *testing.T) {
	repo := func(text string) (fstest.MapFS, []*fleet.Output) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: "etc/x.conf", Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return fstest.MapFS{"x.tar": {Data: b.Bytes()}}, []*fleet.Output{{Plugin: "p", Files: []fleet.File{{Path: "/opt/x.conf", Mode: 0o644, Repo: "x.tar", Member: "etc/x.conf",
			SHA256: schema.DigestOf([]byte(text)), Size: int64(len(text))}}}}
	}
	oldRepo, old := repo("one\ntwo\n")
	newRepo, now := repo("one\nthree\n")
	before, after := side(map[string][]*fleet.Output{"a": old}, nil), side(map[string][]*fleet.Output{"a": now}, nil)
	before.Files, after.Files = oldRepo, newRepo
	if text := printed(t, build(before, after).Text); !strings.Contains(text, "-two\n") || !strings.Contains(text, "+three\n") {
		t.Errorf("text:\n%s", text)
	}
}
