package bake_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

var solaris = schema.Platform{OS: "solaris", Arch: "amd64"}

// solarisRoot is an empty system with testdata/pkgtools.py for its package tools. No real ones are to be had here.
type solarisRoot struct {
	t    *testing.T
	root string
	path string
}

func newSolarisRoot(t *testing.T) *solarisRoot {
	t.Helper()
	for _, name := range []string{"python3", "cpio", "sum"} {
		needs.Tool(t, name)
	}
	stand, err := filepath.Abs("testdata/pkgtools.py")
	if err != nil {
		t.Fatal(err)
	}
	r := &solarisRoot{t: t, root: t.TempDir(), path: t.TempDir()}
	for _, name := range []string{"pkgadd", "pkgrm", "removef"} {
		if err := os.Symlink(stand, filepath.Join(r.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *solarisRoot) try(args ...string) (string, error) {
	args = append([]string{filepath.Join(r.path, args[0]), "-R", r.root}, args[1:]...)
	c := exec.Command("python3", args...)
	c.Env = append(os.Environ(), "PATH="+r.path+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	return string(out), err
}

func (r *solarisRoot) do(args ...string) {
	r.t.Helper()
	if out, err := r.try(args...); err != nil || out != "" {
		r.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// files lists what is there with modes, beside what the tools keep for themselves.
func (r *solarisRoot) files() (list []string) {
	r.t.Helper()
	if err := filepath.WalkDir(r.root, func(p string, e fs.DirEntry, err error) error {
		name := strings.TrimPrefix(p, r.root)
		if err == nil && !e.IsDir() && !strings.HasPrefix(name, "/var/sadm/") && name != "/contents" {
			info, err := e.Info()
			if err != nil {
				return err
			}
			list = append(list, fmt.Sprintf("%s %v", name, info.Mode()))
		}
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	return list
}

func onSolaris(r *rules.Recipe) *rules.Recipe {
	r.Platform = solaris
	for _, o := range r.Outputs {
		o.Scripts = map[string]string{}
		for _, step := range fleet.Steps {
			o.Scripts[step] = fmt.Sprintf(`echo "%s %s %s $BAKEHOUSE_ACTION" >>"$DPKG_ROOT/log"`, r.ID[:2], o.Plugin, step)
		}
	}
	return r
}

func TestADatastreamIsInstalledUpgradedAndRemovedWithAllItsSteps(t *testing.T) {
	root := newSolarisRoot(t)
	st, src := newMemory(), repo{}
	pack := func(r *rules.Recipe) string {
		return write(t, "p.pkg", assembled(t, st, baked(t, st, src, r, schema.Pkg)))
	}
	one := onSolaris(example(src, "1111111111111111", ":1"))
	one.Outputs = one.Outputs[:1] // one plugin: its steps are told apart by the package
	two := onSolaris(example(src, "2222222222222222", ":2"))
	two.Outputs = two.Outputs[:1]
	one.Outputs[0].Files = append(one.Outputs[0].Files, own("/etc/only-in-one", 0o600, "x"))
	first, second := pack(one), pack(two)
	check := func(want *rules.Recipe) {
		t.Helper()
		have := root.files()
		for _, f := range want.Outputs[0].Files {
			if line := fmt.Sprintf("%s %v", f.Path, f.Mode); !slices.Contains(have, line) {
				t.Errorf("no %q in\n%s", line, strings.Join(have, "\n"))
			}
			content := f.Content
			if f.Repo != "" {
				content = src[f.Repo]
			}
			if got, err := os.ReadFile(root.root + f.Path); err != nil || string(got) != string(content) {
				t.Errorf("%s: %d bytes, %v", f.Path, len(got), err)
			}
		}
		if slices.ContainsFunc(have, func(s string) bool { return strings.Contains(s, "pkg-before") }) {
			t.Errorf("something of the installation stays:\n%s", strings.Join(have, "\n"))
		}
	}
	log := func() string {
		b, _ := os.ReadFile(root.root + "/log")
		os.Remove(root.root + "/log")
		return strings.ReplaceAll(strings.ReplaceAll(string(b), " node_exporter", ""), "\n", "; ")
	}
	steps := func(want string) {
		t.Helper()
		if got := log(); got != want {
			t.Errorf("steps %s\nwant  %s", got, want)
		}
	}
	root.do("pkgadd", "-n", "-d", first, "bakehouse-agent")
	check(one)
	steps("11 pretrans install; 11 preinst install; 11 postinst install; 11 posttrans install; ")
	root.do("pkgadd", "-n", "-d", second, "bakehouse-agent")
	check(two)
	steps("11 prerm upgrade; 22 pretrans upgrade; 22 preinst upgrade; 11 postrm upgrade; 22 postinst upgrade; 22 posttrans upgrade; ")
	owned, err := os.ReadFile(root.root + "/contents")
	if _, gone := os.Lstat(root.root + "/etc/only-in-one"); gone == nil || err != nil || strings.Contains(string(owned), "only-in-one") {
		t.Errorf("what only the first had is still there, or owned: %v\n%s", err, owned)
	}
	root.do("pkgadd", "-n", "-d", first, "bakehouse-agent")
	check(one)
	log()
	root.do("pkgrm", "-n", "bakehouse-agent")
	steps("11 prerm remove; 11 postrm remove; ")
	if left := root.files(); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestAStepThatFailsFailsTheInstallation(t *testing.T) {
	st, src := newMemory(), repo{}
	for _, step := range []string{"pretrans", "preinst", "postinst", "posttrans"} {
		root := newSolarisRoot(t)
		r := onSolaris(example(src, someID, ":1"))
		r.Outputs[0].Scripts = map[string]string{step: "exit 3"}
		out, err := root.try("pkgadd", "-n", "-d", write(t, "p.pkg", assembled(t, st, baked(t, st, src, r, schema.Pkg))), "bakehouse-agent")
		if err == nil || !strings.Contains(out, "install script did not complete") && !strings.Contains(out, "preinstall script did not complete") &&
			!strings.Contains(out, "postinstall script did not complete") {
			t.Errorf("%s: %v\n%s", step, err, out)
		}
	}
}

// The stand-in checks each against its map, and the list of contents against the recipe.
func TestEveryClassOfDatastreamIsReadByCpioAndFitsItsMap(t *testing.T) {
	src := repo{}
	for name, r := range classes(src) {
		t.Run(name, func(t *testing.T) {
			r.Platform = solaris
			st := newMemory()
			b := bake.New(st, src)
			defer b.Close()
			out, err := b.Bake(t.Context(), r, schema.Pkg, schema.DigestOf(anchor))
			if name == manyNames {
				if err == nil || !strings.Contains(err.Error(), "a pkg holds no path with blanks") || fault.HintOf(err) == "" {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			pkg := assembled(t, st, out)
			root := newSolarisRoot(t)
			f := write(t, "p.pkg", pkg)
			root.do("pkgadd", "-n", "-d", f, "bakehouse-agent")
			file, err := os.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			listed, err := contents.List(schema.Pkg, file)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range r.Outputs {
				for _, w := range o.Files {
					i := slices.IndexFunc(listed, func(f contents.File) bool { return f.Path == w.Path })
					if i < 0 || listed[i].SHA256 != w.SHA256 || listed[i].Mode != w.Mode || listed[i].Owner != "root:root" {
						t.Errorf("%s: %d of %v", w.Path, i, listed)
					}
				}
			}
		})
	}
}

func TestADatastreamHasExactlyTheFilesOfItsRecipe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, src := drawRecipe(t)
		r.Platform = solaris
		impossible := false
		for _, o := range r.Outputs {
			for _, f := range o.Files {
				impossible = impossible || strings.ContainsAny(f.Path, " ß\u00fc")
			}
		}
		st := newMemory()
		b := bake.New(st, src)
		defer b.Close()
		out, err := b.Bake(t.Context(), r, schema.Pkg, schema.DigestOf(anchor))
		if (err != nil) != impossible {
			t.Fatalf("%v", err)
		}
		if err != nil {
			return
		}
		listed, err := contents.List(schema.Pkg, bytes.NewReader(assembled(t, st, out)))
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]contents.File{}
		for _, f := range listed {
			have[f.Path] = f
		}
		for _, o := range r.Outputs {
			for _, w := range o.Files {
				if got := have[w.Path]; got.SHA256 != w.SHA256 || got.Mode != w.Mode {
					t.Fatalf("%s: %v", w.Path, got)
				}
				delete(have, w.Path)
			}
		}
		for name, f := range have {
			if !f.Mode.IsDir() && !strings.Contains(name, "bakehouse") && strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "/lib/svc/manifest/site/p") {
				t.Fatalf("%s is in the package", name)
			}
		}
	})
}

func TestATgzForAnOldTarHasNoNameThatItCannotRead(t *testing.T) {
	for _, p := range []schema.Platform{solaris, {OS: "aix", Arch: "ppc64"}} {
		src := repo{}
		r := classes(src)[manyNames]
		r.Platform = p
		b := bake.New(newMemory(), src)
		defer b.Close()
		if _, err := b.Bake(t.Context(), r, schema.Tgz, schema.DigestOf(anchor)); err == nil || !strings.Contains(err.Error(), "the tar of "+p.OS) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", p, err)
		}
	}
}
