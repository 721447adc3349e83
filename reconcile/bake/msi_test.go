package bake_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/msi"
	"bakehouse/schema/needs"
)

var windows = schema.Platform{OS: "windows", Arch: "amd64"}

// windowsExample is example for Windows.
func windowsExample(r repo, id, listen string) *rules.Recipe {
	const dir = "/Program Files/Bakehouse/plugins/windows_exporter/"
	return &rules.Recipe{ID: schema.RecipeID(id), Platform: windows, Outputs: []*fleet.Output{
		{Plugin: "windows_exporter", Files: []fleet.File{
			own("/ProgramData/windows_exporter/config.yml", 0o640, "listen: "+listen+"\n"),
			r.file(dir+"windows_exporter.exe", 0o755, noise(1, 100_000)),
			r.file(dir+"README.txt", 0o644, []byte("An exporter.\r\n")),
		}, Services: []fleet.Service{{Name: "windows_exporter", Restart: "always", Enable: true, Exec: `"` + dir +
			`windows_exporter.exe" --config.file=/ProgramData/windows_exporter/config.yml`}},
			Health: &schema.HealthCheck{Command: []string{dir + "windows_exporter.exe", "--version"}, Within: 1e9}},
		{Plugin: "updater", Files: []fleet.File{
			own(schema.ConfigFile("windows"), 0o600, settings),
			own(schema.AnchorFile("windows"), 0o644, string(anchor)),
			r.program(schema.ProgramFile("windows"), noise(2, 30_000)),
		}, Services: []fleet.Service{{Name: "bakehouse-agent", Restart: "always", Enable: true,
			Exec: `"` + schema.ProgramFile("windows") + `" run --service`}}},
	}}
}

func TestTheBytesForWindowsHaveNotChanged(t *testing.T) {
	for arch, want := range map[string]string{
		"amd64": "sha256:249306ffe4f5eedfdac4506d1edac8cb171779853a13bdfa89b9cf38d850c51b",
		"386":   "sha256:0c389fa6e241e30e1952054814f13f2de486c5aa6970aa1fe9ea7e4c83d2f5f7",
		"arm64": "sha256:75feec78971cb712adfe40197bd1320a84ec65dc804d7791f184a02f07777e0e",
	} {
		src := repo{}
		r := windowsExample(src, someID, ":9100")
		r.Platform.Arch = arch
		if got := baked(t, newMemory(), src, r, schema.Msi).Manifest.SHA256.String(); got != want {
			t.Errorf("%s: %s", arch, got)
		}
	}
}

func TestAPackageForWindowsIsWhatItsRecipeSays(t *testing.T) {
	src := repo{}
	r := windowsExample(src, someID, ":9100")
	st := newMemory()
	pkg := assembled(t, st, baked(t, st, src, r, schema.Msi))
	files, err := contents.List(schema.Msi, bytes.NewReader(pkg))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]contents.File{}
	for _, f := range files {
		found[f.Path] = f
	}
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			if got := found[f.Path]; got.SHA256 != f.SHA256 || (got.Mode == 0o600) != (f.Mode&0o077 == 0) {
				t.Errorf("%s: %+v", f.Path, got)
			}
		}
	}
	for _, name := range []string{schema.HealthFile("windows"), schema.UnitsFile("windows"),
		schema.Prefix("windows") + "/LICENSES.txt", schema.StateDir("windows") + "/"} {
		if _, ok := found[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
	if string(contents.Config(files)) != settings {
		t.Error("the settings are not found again")
	}
	p, err := msi.Open(bytes.NewReader(pkg), int64(len(pkg)))
	if err != nil || len(p.Services) != 2 {
		t.Fatal(err, p)
	}
	for _, s := range p.Services {
		if s.Name == "windows_exporter" &&
			(s.Arguments != `--config.file=[CommonAppDataFolder]windows_exporter\config.yml` ||
				!s.Start || !strings.HasSuffix(s.Program, "/windows_exporter.exe")) {
			t.Errorf("%+v", s)
		}
	}
}

// A further package costs its own end: what is before is the same, and so is what the store has.
func TestPackagesForWindowsWithTheSamePluginsDifferAtTheirEndsAlone(t *testing.T) {
	src, st := repo{}, newMemory()
	b := bake.New(st, src)
	defer b.Close()
	var first []schema.Part
	sums := map[schema.Digest]bool{}
	for i := range 300 {
		id := schema.DigestOf(fmt.Append(nil, i)).Hex()[:16]
		out, err := b.Bake(t.Context(), windowsExample(src, id, fmt.Sprintf(":%d", 9000+i)), schema.Msi,
			schema.DigestOf(anchor))
		if err != nil {
			t.Fatal(err)
		}
		parts := out.Manifest.Parts
		last := parts[len(parts)-1]
		if sums[out.Manifest.SHA256] || last.Segment != nil || len(last.Data) > 3<<10 || len(out.Packed) > 3<<10 {
			t.Fatalf("package %d: an end of %d bytes, %d in the store", i, len(last.Data), len(out.Packed))
		}
		sums[out.Manifest.SHA256] = true
		if first == nil {
			first = parts
			continue
		}
		if len(out.NewSegments) > 0 || len(parts) != len(first) {
			t.Fatalf("package %d brings segments %v", i, out.NewSegments)
		}
		for k := range parts[:len(parts)-1] {
			if *parts[k].Segment != *first[k].Segment {
				t.Fatalf("package %d: part %d is another", i, k)
			}
		}
	}
}

// What others read of a package has to be what is in it.
func TestOtherReadersReadPackagesForWindows(t *testing.T) {
	needs.All(t, "runs msitools, 7-Zip and cabextract")
	needs.Tools(t, "msiinfo", "msidump", "msiextract", "7zz", "cabextract", "wixl")
	src, st, dir := repo{}, newMemory(), t.TempDir()
	pkg := assembled(t, st, baked(t, st, src, windowsExample(src, someID, ":9100"), schema.Msi))
	name := filepath.Join(dir, "x.msi")
	if err := os.WriteFile(name, pkg, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "CRITICAL") {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	p, err := msi.Open(bytes.NewReader(pkg), int64(len(pkg)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{} // digests, by path below the first folder
	if err := p.Extract(func(f msi.File, r io.Reader) error {
		h := sha256.New()
		_, err := io.Copy(h, r)
		_, below, _ := strings.Cut(f.Path, "/")
		want[below] = fmt.Sprintf("%x", h.Sum(nil))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	run("msiextract", "-C", "out", name)
	for below, sum := range want {
		b, err := os.ReadFile(filepath.Join(dir, "out", below))
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); err != nil || got != sum {
			t.Errorf("msiextract: %s: %v", below, err)
		}
	}
	if out := run("msiinfo", "suminfo", name); !strings.Contains(out, p.PackageID) || !strings.Contains(out,
		"x64;1033") {
		t.Errorf("msiinfo: %s", out)
	}
	if out := run("msiinfo", "export", name, "Upgrade"); !strings.Contains(out, "\t0.0.0\t\t\t257\t\t") {
		t.Errorf("msiinfo: %s", out)
	}
	run("msidump", "-t", name)
	if out := run("7zz", "t", name); !strings.Contains(out, "Everything is Ok") {
		t.Errorf("7zz: %s", out)
	}
	run("msiinfo", "extract", name, "own")
	own, err := exec.Command("msiinfo", "extract", name, "own").Output()
	if err != nil || os.WriteFile(filepath.Join(dir, "own.cab"), own, 0o600) != nil {
		t.Fatal(err)
	}
	run("cabextract", "--test", "own.cab")

	// And what others write is read here, but for what Windows does not mind.
	if err := os.WriteFile(filepath.Join(dir, "w.wxs"), []byte(wixSource), 0o600); err != nil {
		t.Fatal(err)
	}
	run("wixl", "-o", "w.msi", "w.wxs")
	w, err := os.ReadFile(filepath.Join(dir, "w.msi"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := msi.Open(bytes.NewReader(w), int64(len(w)))
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Extract(func(f msi.File, r io.Reader) error {
		b, err := io.ReadAll(r)
		if !bytes.Equal(b, pkg) {
			t.Errorf("wixl: %s has %d bytes", f.Path, len(b))
		}
		return err
	}); err != nil || len(q.Files) != 1 || len(q.Minor) == 0 {
		t.Error(err, q.Minor)
	}
}

// wixSource is a package of one file.
const wixSource = `<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="*" Name="Example" Version="1.0.0"
UpgradeCode="12345678-1234-1234-1234-111111111111" Manufacturer="Acme" Language="1033">
<Package InstallerVersion="200" Compressed="yes" Comments="x"/><Media Id="1" Cabinet="product.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder"><Directory Id="D" Name="Example">
<Component Id="C" Guid="12345678-1234-1234-1234-222222222222"><File Id="F" Source="x.msi" KeyPath="yes"/></Component>
</Directory></Directory></Directory><Feature Id="A" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>`
