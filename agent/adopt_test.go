package agent

import (
	"os"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// putManually makes a registered host on which somebody has installed its deb with dpkg.
func putManually(t *testing.T) (*testfleet.Fleet, *host, testfleet.Spec, *trusttest.Package) {
	t.Helper()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if err := h.system().CanInstall(schema.Deb); err != nil {
		needs.Missing(t, "%v", err)
	}
	s := spec("1")
	s.Format = schema.Deb
	one := f.Pack(s)
	f.Give("web01", one)
	h.put(one)
	return f, h, s, one
}

func TestAPackageThatWasInstalledManuallyIsNeitherFetchedNorInstalledAgain(t *testing.T) {
	t.Parallel()
	f, h, s, one := putManually(t)
	if _, err := h.Adopt(file(t, one.Bytes)); err != nil {
		t.Fatal(err)
	}
	r := h.update()
	if r.Code != outcome.CodeInstalled || r.Package.Package != one.Manifest.SHA256 ||
		strings.Contains(h.said.String(), "installing") || asked(f, schema.SegmentPath) {
		t.Errorf("update: %s\n%s", r, &h.said)
	}
	if _, err := os.Stat(h.files.Stored(adoptedDir)); !os.IsNotExist(err) {
		t.Errorf("the adopted file stays: %v", err)
	}
	s.Own = map[string]string{"/usr/bin/agent": "2"}
	s.Version = "2"
	f.Give("web01", f.Pack(s))
	h.update()
	h.runs("2")
	if asked(f, schema.SegmentPath) {
		t.Errorf("a segment that was adopted was fetched: %v", f.Requests())
	}
	if _, err := h.Rollback(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	h.runs("1")
}

func asked(f *testfleet.Fleet, path string) bool {
	for _, r := range f.Requests() {
		if strings.Contains(r, path) {
			return true
		}
	}
	return false
}

func TestAnOlderPackageThatWasInstalledManuallySavesWhatTheNewOneShares(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	one := version(f, "one")
	f.Give("web01", one)
	if _, err := h.Adopt(file(t, one.Bytes)); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "two")) // before the first update
	h.update()
	h.runs("two")
	if asked(f, schema.SegmentPath) {
		t.Errorf("what both share was fetched: %v", f.Requests())
	}
}

func TestAnAdoptedFileIsBelievedForSignedDigestsOnly(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	one := version(f, "one")
	f.Give("web01", one)
	bent := append([]byte{}, one.Bytes...)
	bent[len(bent)/2] ^= 1
	if _, err := h.Adopt(file(t, bent)); err != nil {
		t.Fatal(err)
	}
	// As if somebody had given the bent file the name of the right one.
	d := schema.DigestOf(bent)
	right := h.files.Stored(adoptedDir, one.Manifest.SHA256.Hex())
	if err := os.Rename(h.files.Stored(adoptedDir, d.Hex()), right); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("one")
	if !asked(f, schema.SegmentPath) {
		t.Errorf("nothing was fetched: %s", &h.said)
	}
	for _, name := range []string{"/nowhere", t.TempDir(), file(t, nil)} {
		if _, err := h.Adopt(name); err == nil {
			t.Errorf("%s was adopted", name)
		}
	}
}

// Another file of the same version is not what is installed: dpkg puts the package on.
func TestAPackageOfTheSameVersionWithOtherFilesIsInstalled(t *testing.T) {
	t.Parallel()
	_, h, _, _ := putManually(t)
	if err := os.WriteFile(h.files.Path("/usr/bin/agent"), []byte("bent"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("1")
	if !strings.Contains(h.said.String(), "installing") {
		t.Errorf("%s", &h.said)
	}
}
