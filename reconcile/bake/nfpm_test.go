package bake_test

import (
	"archive/tar"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
	nfpmrpm "github.com/goreleaser/nfpm/v2/rpm"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// nfpm packs what stands in an rpm of ours once more; rpm says the same of both.
func TestAnRpmSaysOfItselfWhatNfpmsDoes(t *testing.T) {
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
	info := &nfpm.Info{Name: h.text(t, 1000), Version: h.text(t, 1001), Release: h.text(t, 1002), Arch: "amd64", Platform: "linux", VersionSchema: "none",
		Description: h.text(t, 1005), Vendor: h.text(t, 1011), License: h.text(t, 1014), Homepage: h.text(t, 1020), MTime: time.Unix(epoch, 0), DisableGlobbing: true}
	info.RPM = nfpm.RPM{Summary: h.text(t, 1004), Packager: h.text(t, 1015), Group: h.text(t, 1016), BuildHost: h.text(t, 1007), Compression: "gzip:9"}
	scripts := map[string]string{}
	for _, tag := range []string{"PRETRANS", "PREIN", "POSTIN", "PREUN", "POSTUN", "POSTTRANS"} {
		scripts[tag] = put("scripts/"+tag, query(ours, "%{"+tag+"}"))
	}
	info.Scripts = nfpm.Scripts{PreInstall: scripts["PREIN"], PostInstall: scripts["POSTIN"], PreRemove: scripts["PREUN"], PostRemove: scripts["POSTUN"]}
	info.RPM.Scripts = nfpm.RPMScripts{PreTrans: scripts["PRETRANS"], PostTrans: scripts["POSTTRANS"]}
	related := func(kind string) (all []string) {
		for _, l := range lines(ours, "%{"+kind+"NAME} %{"+kind+"FLAGS:depflags} %{"+kind+"VERSION}") {
			if !strings.HasPrefix(l, "rpmlib(") && !slices.Contains(all, l) {
				all = append(all, strings.TrimSpace(l))
			}
		}
		return all
	}
	info.Depends, info.Replaces = related("REQUIRE"), related("OBSOLETE")
	docs := strings.Split(run(t, rpm, "--query", "--package", "--docfiles", ours), "\n")
	for _, e := range entries {
		to := strings.TrimSuffix(e.Name[1:], "/")
		c := &files.Content{Destination: to, FileInfo: &files.ContentFileInfo{Mode: fs.FileMode(e.Mode), Owner: e.Uname, Group: e.Gname, MTime: time.Unix(epoch, 0)}}
		switch {
		case e.Typeflag == tar.TypeDir:
			c.Type = files.TypeDir
		case slices.Contains(docs, to):
			c.Type = files.TypeRPMDoc
		}
		if c.Type != files.TypeDir {
			c.Source = put("root"+to, string(e.data))
		}
		info.Contents = append(info.Contents, c)
	}
	theirs := filepath.Join(t.TempDir(), "theirs.rpm")
	f, err := os.Create(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := nfpmrpm.DefaultRPM.Package(nfpm.WithDefaults(info), f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	for _, tag := range strings.Fields("NAME VERSION RELEASE ARCH OS SUMMARY DESCRIPTION LICENSE VENDOR PACKAGER GROUP URL BUILDHOST PAYLOADFORMAT PAYLOADCOMPRESSOR PAYLOADFLAGS " +
		"FILEDIGESTALGO PAYLOADDIGESTALGO PRETRANS PREIN POSTIN PREUN POSTUN POSTTRANS PREINPROG POSTINPROG PREUNPROG POSTUNPROG PRETRANSPROG POSTTRANSPROG SOURCEPACKAGE") {
		if a, b := query(ours, "%{"+tag+"}"), query(theirs, "%{"+tag+"}"); a != b {
			t.Errorf("%s: ours %q\nnfpm's %q", tag, a, b)
		}
	}
	const each = "%{FILENAMES} %{FILEMODES:octal} %{FILESIZES} %{FILEDIGESTS} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEMTIMES} %{FILEFLAGS} %{FILELINKTOS} %{FILELANGS} %{FILEDEVICES} %{FILEVERIFYFLAGS}"
	a, b := lines(ours, each), lines(theirs, each)
	slices.Sort(b)
	sorted := slices.Clone(a)
	slices.Sort(sorted)
	if !slices.Equal(sorted, b) {
		t.Errorf("files: ours\n%s\nnfpm's\n%s", strings.Join(sorted, "\n"), strings.Join(b, "\n"))
	}
	for _, kind := range []string{"REQUIRE", "PROVIDE", "OBSOLETE", "CONFLICT"} {
		format := "%{" + kind + "NAME} %{" + kind + "FLAGS:depflags} %{" + kind + "VERSION}"
		a, b := lines(ours, format), lines(theirs, format)
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
