package bake_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// kinds is a recipe of a plugin with these files.
func kinds(n int, files ...fleet.File) *rules.Recipe {
	return &rules.Recipe{ID: schema.RecipeID(strings.Repeat(fmt.Sprint(n), 16)), Platform: linux,
		Outputs: []*fleet.Output{{Plugin: "p", Files: append(files, own("/etc/p/own", 0o644, "own"))}}}
}

var (
	kindsFirst = kinds(1, fleet.Directory("/var/lib/p/spool", 0o750), fleet.Directory("/var/lib/p/gone", 0o755),
		fleet.Directory("/var/lib/p/it's", 0o711), fleet.SymbolicLink("/etc/p/near", "own"),
		fleet.SymbolicLink("/etc/p/up", "../../usr/share/none"), fleet.SymbolicLink("/usr/bin/p-link", "/opt/p/bin/p"))
	kindsSecond = kinds(2, fleet.Directory("/var/lib/p/spool", 0o700), fleet.Directory("/srv/p/new", 0o755),
		fleet.Directory("/var/lib/p/it's", 0o711), fleet.SymbolicLink("/etc/p/near", "./own"))
)

// there is what lies at paths of a root: "directory MODE", "file", "-> TARGET" or "".
func there(t *testing.T, root string, names ...string) (out []string) {
	t.Helper()
	for _, name := range names {
		p := filepath.Join(root, name)
		what := ""
		switch info, err := os.Lstat(p); {
		case err != nil:
		case info.IsDir():
			what = fmt.Sprintf("directory %o", info.Mode().Perm())
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				t.Fatal(err)
			}
			what = "-> " + to
		default:
			what = "file"
		}
		out = append(out, what)
	}
	return out
}

// Directories and links come, change and go with the package, as the package manager does it; what others put into a
// directory stays, and the directory with it.
func TestDirectoriesAndLinksComeChangeAndGo(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (root string, update func(*rules.Recipe), remove func()){
		"deb": func(t *testing.T) (string, func(*rules.Recipe), func()) {
			root, dpkg := dpkgRoot(t)
			arch := strings.TrimSpace(run(t, dpkg[0], "--print-architecture"))
			do := func(args ...string) { run(t, append(slices.Clone(dpkg), args...)...) }
			return root, func(r *rules.Recipe) {
				r.Platform.Arch = arch
				st := newMemory()
				do("--install", write(t, "p.deb", assembled(t, st, baked(t, st, repo{}, r, schema.Deb))))
			}, func() { do("--remove", "bakehouse-agent") }
		},
		"rpm": func(t *testing.T) (string, func(*rules.Recipe), func()) {
			r := newRpmRoot(t)
			return r.root, func(recipe *rules.Recipe) {
				r.quiet("--upgrade", "--oldpackage", "--replacepkgs", r.pack(recipe, repo{}))
				r.quiet("--verify", "--nodeps", "bakehouse-agent")
			}, func() { r.quiet("--erase", "bakehouse-agent") }
		},
		"pkg": func(t *testing.T) (string, func(*rules.Recipe), func()) {
			r := newSolarisRoot(t)
			return r.root, func(recipe *rules.Recipe) {
				there := *recipe
				there.Platform = solaris
				st := newMemory()
				pkg := write(t, "p.pkg", assembled(t, st, baked(t, st, repo{}, &there, schema.Pkg)))
				r.do("pkgadd", "-n", "-d", pkg, "bakehouse-agent")
			}, func() { r.do("pkgrm", "-n", "bakehouse-agent") }
		},
		"tgz": func(t *testing.T) (string, func(*rules.Recipe), func()) {
			root := t.TempDir()
			host := install.On(root, nil)
			return root, func(r *rules.Recipe) { installTgz(t, host, r) }, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, update, remove := start(t)
			check := func(when string, want ...string) {
				t.Helper()
				at := []string{"var/lib/p/spool", "var/lib/p/gone", "var/lib/p/it's", "srv/p/new", "etc/p/near",
					"etc/p/up", "usr/bin/p-link"}
				if name == "tgz" { // a path is a link into the version there, which leads on
					for i, p := range at[4:] {
						if want[4+i] != "" {
							at[4+i] = filepath.Join("opt/bakehouse/current", p)
						}
					}
					for i, to := range map[string]string{"-> own": "-> /etc/p/own", "-> ./own": "-> /etc/p/own",
						"-> ../../usr/share/none": "-> /usr/share/none"} {
						for k := range want {
							if want[k] == i {
								want[k] = to
							}
						}
					}
				}
				if got := there(t, root, at...); !slices.Equal(got, want) {
					t.Errorf("%s:\n%q, want\n%q", when, got, want)
				}
			}
			first := []string{"directory 750", "directory 755", "directory 711", "", "-> own",
				"-> ../../usr/share/none", "-> /opt/p/bin/p"}
			second := []string{"directory 700", "", "directory 711", "directory 755", "-> ./own", "", ""}
			update(kindsFirst)
			check("the first package", slices.Clone(first)...)
			update(kindsSecond)
			check("the second", slices.Clone(second)...)
			update(kindsFirst)
			check("the first again", slices.Clone(first)...)
			if err := os.WriteFile(filepath.Join(root, "var/lib/p/spool/mail"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if remove == nil {
				update(kinds(3))
			} else {
				remove()
			}
			check("without them", "directory 750", "", "", "", "", "", "")
		})
	}
}

// installTgz has the host program install a recipe's package.
func installTgz(t *testing.T, host *install.System, r *rules.Recipe) {
	t.Helper()
	st := newMemory()
	b := baked(t, st, repo{}, r, schema.Tgz)
	pkg := assembled(t, st, b)
	if _, err := host.Install(t.Context(), install.Package{File: write(t, "p.tgz", pkg), SHA256: schema.DigestOf(pkg),
		Size: int64(len(pkg)), Name: b.Manifest.Name, Version: b.Manifest.Version, Recipe: r.ID,
		Format: schema.Tgz}); err != nil {
		t.Fatal(err)
	}
}

// A directory that was there gets the owner and mode that the package says, and its parents keep theirs.
func TestADirectoryIsOfItsOwner(t *testing.T) {
	s := newSystem(t, "bookworm")
	dir := fleet.Directory("/var/lib/p", 0o750)
	dir.Owner, dir.Group = "daemon", "adm"
	r := kinds(1, dir)
	st := newMemory()
	r.Platform.Arch = strings.TrimSpace(run(t, needs.Tool(t, "dpkg"), "--print-architecture"))
	pkg := assembled(t, st, baked(t, st, repo{}, r, schema.Deb))
	out := s.run(pkg, `
		mkdir -m 0755 /var/lib/p
		dpkg --install /package.deb >&2
		stat --format '%U:%G %a' /var/lib/p /var/lib
		mkdir /elsewhere && rmdir /var/lib/p && ln -s /elsewhere /var/lib/p
		dpkg --install /package.deb >&2
		stat --format '%U:%G %a' /elsewhere
		dpkg --purge bakehouse-agent >&2
		stat --format '%U:%G %a' /elsewhere`)
	if want := "daemon:adm 750\nroot:root 755\nroot:root 755\nroot:root 755\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
	tgz := readTar(t, assembled(t, st, baked(t, st, repo{}, r, schema.Tgz)), true)
	i := slices.IndexFunc(tgz, func(e entry) bool { return e.Name == "./var/lib/p/" })
	if i < 0 || tgz[i].Uname != "daemon" || tgz[i].Gname != "adm" || tgz[i].Mode != 0o750 {
		t.Errorf("the tgz has %+v", tgz)
	}
}

// The steps of a tgz run on a host as root, so here too.
func TestADirectoryOfATgzIsOfItsOwner(t *testing.T) {
	needs.Root(t, "giving directories away")
	dir := fleet.Directory(filepath.Join(t.TempDir(), "of daemon"), 0o750)
	dir.Owner, dir.Group = "daemon", "daemon"
	st := newMemory()
	tgz := readTar(t, assembled(t, st, baked(t, st, repo{}, kinds(1, dir), schema.Tgz)), true)
	i := slices.IndexFunc(tgz, func(e entry) bool { return e.Name == "."+schema.ScriptsFile("linux") })
	if i < 0 {
		t.Fatal("it has no steps")
	}
	step := func(name string) { run(t, "sh", write(t, "scripts", tgz[i].data), name, "/nowhere") }
	for range 2 {
		step("owners")
		if got := run(t, "stat", "--format=%U:%G %a", dir.Path); got != "daemon:daemon 750\n" {
			t.Errorf("it is %s", got)
		}
	}
	step("postrm")
	if _, err := os.Stat(dir.Path); err == nil {
		t.Error("it stays")
	}
}

// What a package says that it holds, every format says alike.
func TestDirectoriesAndLinksAreListed(t *testing.T) {
	for format, p := range map[schema.Format]schema.Platform{schema.Deb: linux, schema.Rpm: linux, schema.Tgz: linux,
		schema.Pkg: {OS: "solaris", Arch: "amd64"}} {
		to := "/opt/p/" + strings.Repeat("x", 110)
		r := kinds(1, fleet.Directory("/opt/p/empty", 0o700), fleet.SymbolicLink("/opt/p/link", to))
		r.Platform = p
		st := newMemory()
		files, err := contents.List(format, bytes.NewReader(assembled(t, st, baked(t, st, repo{}, r, format))))
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, f := range files {
			found[f.Path] = strings.TrimSpace(f.Mode.String() + " " + f.Link)
		}
		if got := found["/opt/p/empty/"]; got != "drwx------" {
			t.Errorf("%s: the directory is %q", format, got)
		}
		if got := found["/opt/p/link"]; got != "Lrwxrwxrwx "+to {
			t.Errorf("%s: the link is %q", format, got)
		}
	}
}
