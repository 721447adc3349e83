package bake_test

import (
	"archive/tar"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// nfpm builds nfpm, which the module of peers requires: no dependency of the product is there for a test's oracle
// alone.
func nfpm(t testing.TB) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "nfpm")
	cmd := exec.Command("go", "build", "-C", "../../.ci/peers", "-o", program, "github.com/goreleaser/nfpm/v2/cmd/nfpm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// info is nfpm's configuration of a package. It is YAML, of which JSON is a part.
type info map[string]any

// packaging is nfpm at work on a package.
func (i info) packaging(t testing.TB, program, packager, target string) *exec.Cmd {
	t.Helper()
	config, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "nfpm.yaml", config)
	return exec.Command(program, "package", "--config", file, "--packager", packager, "--target", target)
}

// nfpm packs the content of an rpm of ours once more; rpm says the same of both.
func TestAnRpmSaysOfItselfWhatNfpmsDoes(t *testing.T) {
	needs.All(t, "builds nfpm")
	rpm := needs.Tool(t, "rpm")
	src := repo{}
	r := example(src, someID, ":9100")
	r.Outputs = append(r.Outputs, peopled().Outputs...)
	r.Outputs[0].Scripts = map[string]string{"pretrans": "true", "preinst": "true", "postinst": "true", "prerm": "true", "postrm": "true", "posttrans": "true"}
	st := newMemory()
	pkg := assembled(t, st, baked(t, st, src, r, schema.Rpm))
	ours := write(t, "ours.rpm", pkg)
	h, entries := readRpm(t, pkg)

	const epoch = 946684800
	dir := t.TempDir()
	put := func(name, content string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	query := func(f, format string) string { return run(t, rpm, "--query", "--package", "--queryformat", format, f) }
	lines := func(f, format string) []string {
		return strings.Split(strings.TrimSpace(query(f, "["+format+"\n]")), "\n")
	}
	made := time.Unix(epoch, 0).UTC().Format(time.RFC3339)
	theirs := info{"name": h.text(t, 1000), "version": h.text(t, 1001), "release": h.text(t, 1002), "arch": "amd64",
		"platform": "linux", "version_schema": "none", "description": h.text(t, 1005), "vendor": h.text(t, 1011),
		"license": h.text(t, 1014), "homepage": h.text(t, 1020), "mtime": made, "disable_globbing": true}
	scripts := map[string]string{}
	for _, tag := range []string{"PRETRANS", "PREIN", "POSTIN", "PREUN", "POSTUN", "POSTTRANS"} {
		scripts[tag] = put("scripts/"+tag, query(ours, "%{"+tag+"}"))
	}
	theirs["scripts"] = info{"preinstall": scripts["PREIN"], "postinstall": scripts["POSTIN"],
		"preremove": scripts["PREUN"], "postremove": scripts["POSTUN"]}
	theirs["rpm"] = info{"summary": h.text(t, 1004), "packager": h.text(t, 1015), "group": h.text(t, 1016),
		"buildhost": h.text(t, 1007), "compression": "gzip:9",
		"scripts": info{"pretrans": scripts["PRETRANS"], "posttrans": scripts["POSTTRANS"]}}
	related := func(kind string) (all []string) {
		for _, l := range lines(ours, "%{"+kind+"NAME} %{"+kind+"FLAGS:depflags} %{"+kind+"VERSION}") {
			if !strings.HasPrefix(l, "rpmlib(") && !slices.Contains(all, l) {
				all = append(all, strings.TrimSpace(l))
			}
		}
		return all
	}
	theirs["depends"], theirs["replaces"] = related("REQUIRE"), related("OBSOLETE")
	var contents []info
	docs := strings.Split(run(t, rpm, "--query", "--package", "--docfiles", ours), "\n")
	for _, e := range entries {
		to := strings.TrimSuffix(e.Name[1:], "/")
		c := info{"dst": to, "file_info": info{"mode": e.Mode, "owner": e.Uname, "group": e.Gname, "mtime": made}}
		switch {
		case e.Typeflag == tar.TypeDir:
			c["type"] = "dir"
		case slices.Contains(docs, to):
			c["type"] = "doc"
		}
		if c["type"] != "dir" {
			c["src"] = put("root"+to, string(e.data))
		}
		contents = append(contents, c)
	}
	theirs["contents"] = contents
	packed := filepath.Join(t.TempDir(), "theirs.rpm")
	if out, err := theirs.packaging(t, nfpm(t), "rpm", packed).CombinedOutput(); err != nil {
		t.Fatalf("nfpm: %v\n%s", err, out)
	}

	for _, tag := range strings.Fields("NAME VERSION RELEASE ARCH OS SUMMARY DESCRIPTION LICENSE VENDOR PACKAGER GROUP URL BUILDHOST PAYLOADFORMAT PAYLOADCOMPRESSOR PAYLOADFLAGS " +
		"FILEDIGESTALGO PAYLOADDIGESTALGO PRETRANS PREIN POSTIN PREUN POSTUN POSTTRANS PREINPROG POSTINPROG PREUNPROG POSTUNPROG PRETRANSPROG POSTTRANSPROG SOURCEPACKAGE") {
		if a, b := query(ours, "%{"+tag+"}"), query(packed, "%{"+tag+"}"); a != b {
			t.Errorf("%s: ours %q\nnfpm's %q", tag, a, b)
		}
	}
	const each = "%{FILENAMES} %{FILEMODES:octal} %{FILESIZES} %{FILEDIGESTS} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEMTIMES} %{FILEFLAGS} %{FILELINKTOS} %{FILELANGS} %{FILEDEVICES} %{FILEVERIFYFLAGS}"
	a, b := lines(ours, each), lines(packed, each)
	slices.Sort(b)
	sorted := slices.Clone(a)
	slices.Sort(sorted)
	if !slices.Equal(sorted, b) {
		t.Errorf("files: ours\n%s\nnfpm's\n%s", strings.Join(sorted, "\n"), strings.Join(b, "\n"))
	}
	for _, kind := range []string{"REQUIRE", "PROVIDE", "OBSOLETE", "CONFLICT"} {
		format := "%{" + kind + "NAME} %{" + kind + "FLAGS:depflags} %{" + kind + "VERSION}"
		a, b := lines(ours, format), lines(packed, format)
		for _, list := range []*[]string{&a, &b} {
			// nfpm does not say what rpm must know; rpmbuild does.
			*list = slices.DeleteFunc(*list, func(l string) bool { return strings.HasPrefix(l, "rpmlib(") })
			slices.Sort(*list)
			*list = slices.Compact(*list)
		}
		if !slices.Equal(a, b) {
			t.Errorf("%s: ours %q\nnfpm's %q", kind, a, b)
		}
	}
}
