package evaluate

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/schema"
)

// treeRepo is a repo with a folder, and the same as an archive.
func treeRepo(t *testing.T) fstest.MapFS {
	t.Helper()
	m := repo(map[string]string{"files/app/conf/main": "main", "files/app/.hidden": "h", "files/other": "x"})
	m["files/app/bin/run"] = &fstest.MapFile{Data: []byte("#!/bin/sh\n"), Mode: 0o755}
	m["files/app/bin/start"] = &fstest.MapFile{Data: []byte("run"), Mode: fs.ModeSymlink | 0o777}
	m["files/app/conf/top"] = &fstest.MapFile{Data: []byte("/opt/app/bin"), Mode: fs.ModeSymlink | 0o777}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range []tar.Header{{Name: "./app-1/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./app-1/empty/", Typeflag: tar.TypeDir, Mode: 0o700},
		{Name: "./app-1/bin/run", Typeflag: tar.TypeReg, Mode: 0o4750, Size: 10},
		{Name: "./app-1/bin/again", Typeflag: tar.TypeLink, Linkname: "app-1/bin/run"},
		{Name: "./app-1/bin/start", Typeflag: tar.TypeSymlink, Linkname: "run"},
		{Name: "./app-1/conf/main", Typeflag: tar.TypeReg, Mode: 0o600, Size: 4},
		{Name: "./other", Typeflag: tar.TypeReg, Mode: 0o600, Size: 4}} {
		h.Format = tar.FormatUSTAR
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("#!/bin/sh\n")[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	m["vendor/app.tar.gz"] = &fstest.MapFile{Data: b.Bytes()}
	return m
}

// A folder of the repo, or of an archive there, is below a path of hosts whole.
func TestATreeIsPlacedWithOneRuleForAll(t *testing.T) {
	f := loaded(t, treeRepo(t))
	for name, c := range map[string]struct {
		value string
		want  []string
	}{
		"a folder": {`"/opt/app": tree: "files/app"`, []string{"/opt/app/.hidden -rw-r--r-- :",
			"/opt/app/bin/run -rwxr-xr-x :", "/opt/app/bin/start -> run", "/opt/app/conf/main -rw-r--r-- :",
			"/opt/app/conf/top -> /opt/app/bin"}},
		"with an owner": {`"/opt/app": {tree: "files/app", owner: "web", group: "adm", mode: 0o640}`,
			[]string{"/opt/app drwxr-x--- web:adm", "/opt/app/.hidden -rw-r----- web:adm",
				"/opt/app/bin drwxr-x--- web:adm", "/opt/app/bin/run -rwxr-x--- web:adm", "/opt/app/bin/start -> run",
				"/opt/app/conf drwxr-x--- web:adm",
				"/opt/app/conf/main -rw-r----- web:adm", "/opt/app/conf/top -> /opt/app/bin"}},
		"into the system's folders": {`"/usr": {tree: "files/app/bin", mode: 0o600}`,
			[]string{"/usr/run -rwx------ :", "/usr/start -> run"}},
		"with a file of its own": {`"/opt/app": tree: "files/app/conf", "/opt/app/main": content: "mine"
			"/opt/app/top": link: "/elsewhere"`,
			[]string{"/opt/app/main -rw-r--r-- : mine", "/opt/app/top -> /elsewhere"}},
		"an archive's folder": {`"/srv/a": tree: {archive: "vendor/app.tar.gz", member: "app-1"}`,
			[]string{"/srv/a/bin/again -rw-r--r-- :", "/srv/a/bin/run -rwxr-xr-x :", "/srv/a/bin/start -> run",
				"/srv/a/conf/main -rw-r--r-- :", "/srv/a/empty drwxr-xr-x :"}},
		"a whole archive": {`"/srv/a": tree: {archive: "vendor/app.tar.gz"}`,
			[]string{"/srv/a/app-1/bin/again -rw-r--r-- :", "/srv/a/app-1/bin/run -rwxr-xr-x :",
				"/srv/a/app-1/bin/start -> run", "/srv/a/app-1/conf/main -rw-r--r-- :",
				"/srv/a/app-1/empty drwxr-xr-x :", "/srv/a/other -rw-r--r-- :"}},
	} {
		out, err := outputOf(t, f, "files", "files: {"+c.value+"}")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, f := range out.Files {
			line := fmt.Sprintf("%s %v %s:%s %s", f.Path, f.Mode, f.Owner, f.Group, f.Content)
			if f.Link != "" {
				line = f.Path + " -> " + f.Link
			}
			got = append(got, strings.TrimSpace(line))
			if f.Regular() && f.Content == nil && (!f.Shared() || f.SHA256.IsZero() || f.Size == 0) {
				t.Errorf("%s: %+v", name, f)
			}
			if f.Path == "/srv/a/bin/run" && (f.Member != "app-1/bin/run" || !f.Tree ||
				f.SHA256 != schema.DigestOf([]byte("#!/bin/sh\n"))) {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestATreeIsRefusedWhereItIsWritten(t *testing.T) {
	const sum = `sha256: "sha256:0000000000000000000000000000000000000000000000000000000000000001"`
	const app = `"files/app"`
	for name, c := range map[string]struct{ tree, want, path, text string }{
		"a link that leads out": {app, `x is a symbolic link to "../../etc", which is outside`, "files/app/x",
			"-> ../../etc"},
		"an absolute one":           {app, `x is a symbolic link to "/etc", which is`, "files/app/x", "-> /etc"},
		"one that is nearly within": {app, "which is outside of the tree", "files/app/x", "-> /opt/application"},
		"a tree that is not there":  {`"files/none"`, "there is no folder files/none in the repo", "", ""},
		"a tree that is a file":     {`"files/other"`, "files/other is a file, not a folder", "", ""},
		"a tree that is an archive": {`"vendor/app.tar.gz"`, "vendor/app.tar.gz is a file, not a folder", "", ""},
		"a tree that climbs":        {`"../x"`, "is not a clean path inside the repo", "", ""},
		"a folder behind a link":    {`"files/link/x"`, "files/link is a symbolic link", "files/link", "-> app"},
		"a member that is not there": {`{archive: "vendor/app.tar.gz", member: "app-2"}`,
			`has no member "app-2"`, "", ""},
		"a folder as an archive":    {`{archive: "files/app", member: "app-2"}`, "files/app is not a regular", "", ""},
		"a tree of a URL":           {`{url: "https://example.com/x.tar", ` + sum + `}`, "tree.", "", ""},
		"a name that no host takes": {app, "control characters or backslashes", "files/app/a\\b", "x"},
		"a file of the host's own": {app + `, "/etc": tree: "files/app/bin"`, "/etc/passwd is the host's own",
			"files/app/bin/passwd", "x"},
		"two trees for one path": {app + `, "/opt": tree: "files"`, "both have /opt/app/", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := treeRepo(t)
			if c.path != "" {
				m[c.path] = &fstest.MapFile{Data: []byte(c.text)}
				if to, ok := strings.CutPrefix(c.text, "-> "); ok {
					m[c.path] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
				}
			}
			f := loaded(t, m)
			value := `files: {"/opt/app": tree: ` + c.tree + "}"
			err := checked(t, f, "files", value).Err()
			if err == nil {
				_, err = outputOf(t, f, "files", value)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.HasPrefix(err.Error(), "hosts/given.cue:2:") {
				t.Errorf("got %v, want hosts/given.cue:2: … %s", err, c.want)
			}
		})
	}
}
