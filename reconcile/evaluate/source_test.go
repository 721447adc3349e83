package evaluate

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// tarOf is an archive of files, given as name and content in turn.
func tarOf(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o755, Size: int64(len(files[i+1])),
			Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func fleetWithArchive(t *testing.T) *Repo {
	return loaded(t, repo(map[string]string{
		"hosts/r.cue":      "package hosts\nrules: files: [{value: {}}]\n",
		"vendor/agent.tar": tarOf(t, "./usr/bin/agent", "the agent", "./usr/bin/other", "another"),
		"vendor/no.tar":    "not a tar",
		"vendor/lfs.tar":   pointer + "\noid sha256:0\n",
	}))
}

func TestASourceMayBeAMemberOfAnArchiveOfTheRepo(t *testing.T) {
	f := fleetWithArchive(t)
	out, err := outputOf(t, f, "files",
		`files: "/usr/bin/agent": {source: {archive: "vendor/agent.tar", member: "/usr/bin/agent"}, mode: 0o755}`)
	if err != nil {
		t.Fatal(err)
	}
	file := fileOf(t, out, "/usr/bin/agent")
	if file.Repo != "vendor/agent.tar" || file.Member != "usr/bin/agent" ||
		file.SHA256 != schema.DigestOf([]byte("the agent")) || file.Size != 9 || !file.Shared() || file.ByProvenance() {
		t.Errorf("file %+v", file)
	}
}

func TestAMemberOfAnArchiveFromAURLIsKnownByTheArchivesDigest(t *testing.T) {
	f := fleetWithArchive(t)
	from := func(url, sum, member string) fleet.File {
		t.Helper()
		out, err := outputOf(t, f, "files", fmt.Sprintf(`files: "/usr/bin/x": source: {url: %q, sha256: %q, member: %q}`,
			url, sum, member))
		if err != nil {
			t.Fatal(err)
		}
		return fileOf(t, out, "/usr/bin/x")
	}
	a, b := "sha256:"+strings.Repeat("ab", 32), "sha256:"+strings.Repeat("cd", 32)
	x := from("https://example.com/x.deb", a, "usr/bin/x")
	if x.Archive.String() != a || x.Member != "usr/bin/x" || x.Size != -1 || !x.ByProvenance() || x.Pin().String() != a ||
		x.SHA256.IsZero() || x.SHA256 == x.Archive {
		t.Errorf("file %+v", x)
	}
	if y := from("https://mirror.example/y.deb", a, "./usr/bin/x"); y.SHA256 != x.SHA256 {
		t.Error("the same member of the same archive at another place is another file")
	}
	if from("https://example.com/x.deb", b, "usr/bin/x").SHA256 == x.SHA256 ||
		from("https://example.com/x.deb", a, "usr/bin/y").SHA256 == x.SHA256 {
		t.Error("another archive or another member is the same file")
	}
}

func TestASourceThatIsNoneIsRefusedWhereItStands(t *testing.T) {
	f, sum := fleetWithArchive(t), "sha256:"+strings.Repeat("ab", 32)
	for name, c := range map[string]struct{ source, want string }{
		"nothing": {`{}`, "has not exactly one of url and archive"},
		"a URL and an archive": {`{url: "https://e/x", sha256: "` + sum + `", archive: "a", member: "b"}`,
			"has not exactly one of url and archive"},
		"a URL without a digest": {`{url: "https://e/x"}`, "no sha256"},
		"a digest of an archive": {`{archive: "vendor/agent.tar", member: "x", sha256: "` + sum + `"}`,
			"what the repo has needs none"},
		"an archive alone": {`{archive: "vendor/agent.tar"}`, "no member of it"},
		"a member that leads out": {`{archive: "vendor/agent.tar", member: "../x"}`,
			`member "../x" is not the path of a file inside an archive`},
		"a member with a control code": {`{archive: "vendor/agent.tar", member: "x\u001b"}`,
			"is not the path of a file inside"},
		"the whole archive as a member": {`{archive: "vendor/agent.tar", member: "./"}`, "is not the path of a file inside"},
		"an archive outside the repo":   {`{archive: "../agent.tar", member: "x"}`, "is not a clean path inside the repo"},
		"an archive that is not there": {`{archive: "vendor/gone.tar", member: "x"}`,
			"there is no file vendor/gone.tar in the repo"},
		"what is no archive": {`{archive: "vendor/no.tar", member: "x"}`, "is no archive of a known kind"},
		"a Git LFS pointer":  {`{archive: "vendor/lfs.tar", member: "x"}`, "a Git LFS pointer"},
		"a member that is not in it": {`{archive: "vendor/agent.tar", member: "usr/sbin/agent"}`,
			`the archive has no member "usr/sbin/agent"`},
		"a field that it does not have":  {`{archive: "vendor/agent.tar", name: "x"}`, "name"},
		"an archive that is a directory": {`{archive: "vendor", member: "x"}`, "vendor is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			value := `files: "/usr/bin/x": source: ` + c.source
			err := checked(t, f, "files", value).Err()
			if err == nil {
				_, err = outputOf(t, f, "files", value)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hosts/given.cue:2:") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAMissingMemberIsNamedWithItsPlaceAndWhatIsNear(t *testing.T) {
	f := loaded(t, repo(map[string]string{
		"hosts/r.cue":         "package hosts\nrules: p: [{value: {}}]\n",
		"plugins/p/agent.tar": tarOf(t, "./usr/bin/agent", "the agent"),
		"plugins/p/plugin.cue": "package p\nplugin: files: \"/usr/bin/agent\": source: {\n\tarchive: " +
			"\"agent.tar\"\n\tmember:  \"bin/agent\"\n}\n",
	}))
	_, err := outputOf(t, f, "p", "")
	const want = "plugins/p/plugin.cue:4:11: plugin p: file /usr/bin/agent: archive \"agent.tar\": the archive has no " +
		"member \"bin/agent\"\n\thint: it has \"usr/bin/agent\""
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// hashed is a repo that knows its files' hashes, and counts what is opened.
type hashed struct {
	fstest.MapFS
	mu     *sync.Mutex
	opened map[string]int
}

func (h hashed) HashOf(name string) (string, error) {
	f, ok := h.MapFS[name]
	if !ok {
		return "", fs.ErrNotExist
	}
	return schema.DigestOf(f.Data).Hex(), nil
}

func (h hashed) Open(name string) (fs.File, error) {
	h.mu.Lock()
	h.opened[name]++
	h.mu.Unlock()
	return h.MapFS.Open(name)
}

func TestAnArchiveOfTheRepoIsReadOnceForAllRunsUntilItChanges(t *testing.T) {
	const name = "vendor/agent.tar"
	c := newCache(t)
	files := repo(map[string]string{"hosts/r.cue": "package hosts\nrules: files: [{value: {}}]\n",
		name: tarOf(t, "./a", "first", "./b", "second")})
	take := func(member string) (fleet.File, string, int) {
		t.Helper()
		fsys := hashed{files, new(sync.Mutex), map[string]int{}}
		f, err := Load(t.Context(), fsys, c.Cache)
		if err != nil {
			t.Fatal(err)
		}
		var file fleet.File
		for range 2 {
			out, err := outputOf(t, f, "files", `files: "/x": source: {archive: "`+name+`", member: "`+member+`"}`)
			if err != nil {
				t.Fatal(err)
			}
			file = fileOf(t, out, "/x")
		}
		opened := fsys.opened[name]
		var b bytes.Buffer
		if err := sourcefile.New(fsys).CopyMember(t.Context(), &b, file.Repo, file.Member); err != nil {
			t.Fatal(err)
		}
		return file, b.String(), opened
	}
	for _, c := range []struct {
		member, want string
		opened       int
	}{{"a", "first", 1}, {"a", "first", 0}, {"b", "second", 1}, {"./b", "second", 0}} {
		file, got, opened := take(c.member)
		if got != c.want || file.SHA256 != schema.DigestOf([]byte(c.want)) || file.Size != int64(len(c.want)) ||
			opened != c.opened {
			t.Errorf("%s: %q, %+v, opened %d times to know its digest, not %d", c.member, got, file, opened, c.opened)
		}
	}
	files[name] = &fstest.MapFile{Data: []byte(tarOf(t, "./a", "third"))}
	if file, got, opened := take("a"); got != "third" || file.SHA256 != schema.DigestOf([]byte("third")) || opened != 1 {
		t.Errorf("another archive: %q, %+v, opened %d times", got, file, opened)
	}
}
