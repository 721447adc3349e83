package agent

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// observed is a host with one package of a format, whose settings are nowhere but in the package.
func observed(t *testing.T, format schema.Format, change func(*testfleet.Spec)) (
	*testfleet.Fleet, *host, *trusttest.Package,
) {
	t.Helper()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if err := h.system().CanInstall(format); err != nil {
		needs.Missing(t, "%v", err)
	}
	s := spec("1")
	s.Format = format
	if change != nil {
		change(&s)
	}
	one := f.Pack(s)
	f.Give("web01", one)
	h.update()
	st := h.stateOf()
	st.Bootstrap = nil
	if err := h.files.Write(st); err != nil {
		t.Fatal(err)
	}
	return f, h, one
}

func TestWhatIsNotAsItWasInstalledIsRepairedAndSaid(t *testing.T) {
	t.Parallel()
	for _, format := range []schema.Format{schema.Tgz, schema.Deb} {
		const program = "/usr/bin/agent"
		for name, c := range map[string]struct {
			spoil      func(path func(string) string) error
			says, kept string
		}{
			"a deleted program": {func(path func(string) string) error { return os.Remove(path(program)) },
				program + " is missing", ""},
			"deleted settings": {spoil: func(path func(string) string) error {
				return os.Remove(path(schema.ConfigFile(runtime.GOOS)))
			}},
			"emptied settings": {spoil: func(path func(string) string) error {
				return os.Truncate(path(schema.ConfigFile(runtime.GOOS)), 0)
			}},
			"a deleted anchor": {spoil: func(path func(string) string) error {
				return os.Remove(path(schema.AnchorFile(runtime.GOOS)))
			}},
			"an edit in place": {func(path func(string) string) error {
				return os.WriteFile(path(program), []byte("x"), 0o755)
			}, program + " was changed", "x"},
			"an editor's rename": {func(path func(string) string) error { return replace(path(program), "y") },
				program + " ", "y"},
			"another mode": {func(path func(string) string) error { return os.Chmod(path(program), 0o644) },
				program + " has mode 644, not 755", "1"},
		} {
			t.Run(string(format)+", "+name, func(t *testing.T) {
				t.Parallel()
				needs.Alike(t)
				f, h, _ := observed(t, format, nil)
				if r := h.update(); r.Why != "up to date" {
					t.Fatalf("before: %s", r)
				}
				requests := len(f.Requests())
				if err := c.spoil(h.files.Path); err != nil {
					t.Fatal(err)
				}
				r := h.update()
				if r.State != schema.StateCurrent || r.Code != schema.CodeCurrent || !strings.Contains(r.Why, c.says) {
					t.Errorf("update: %s", r)
				}
				h.runs("1")
				kept := schema.StateDir(runtime.GOOS) + "/edited/usr/bin/agent"
				if got := h.reads(kept); c.kept != "" && got != c.kept {
					t.Errorf("kept %q, want %q", got, c.kept)
				}
				if got := len(f.Requests()) - requests; got > 2 {
					t.Errorf("%d requests: something was fetched again", got)
				}
				if r := h.update(); r.Why != "up to date" {
					t.Errorf("afterwards: %s", r)
				}
				if st := h.stateOf(); st.Drift != nil || st.Pending != nil {
					t.Errorf("afterwards: %+v", st)
				}
			})
		}
	}
}

func replace(name, text string) error {
	return errors.Join(os.WriteFile(name+".new", []byte(text), 0o755), os.Rename(name+".new", name))
}

// put installs a package behind the updater's back.
func (h *host) put(p *trusttest.Package) {
	h.t.Helper()
	m := p.Manifest
	if _, err := h.system().Install(h.t.Context(), install.Package{File: file(h.t, p.Bytes), SHA256: m.SHA256,
		Size: m.Size, Name: m.Name, Version: m.Version, Recipe: m.Recipe, Format: m.Format}); err != nil {
		h.t.Fatal(err)
	}
}

func TestAPackageThatSomebodyElseInstalledIsNoticedAndGivesWay(t *testing.T) {
	t.Parallel()
	for _, format := range []schema.Format{schema.Tgz, schema.Deb} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			f, h, one := observed(t, format, nil)
			s := spec("2")
			s.Format = format
			f.Give("web01", f.Pack(s))
			h.update()
			h.runs("2")
			h.put(one)
			h.runs("1")
			if r := h.update(); r.State != schema.StateCurrent ||
				!strings.Contains(r.Why, "the package manager has version ") {
				t.Errorf("update: %s", r)
			}
			h.runs("2")
		})
	}
}

func TestWhatIsNotAsItWasInstalledIsLeftAloneByRuleAndReported(t *testing.T) {
	t.Parallel()
	f, h, _ := observed(t, schema.Tgz, func(s *testfleet.Spec) {
		s.Change = func(c *schema.AgentConfig) { c.Drift = schema.DriftReport }
	})
	if err := os.WriteFile(h.files.Path("/usr/bin/agent"), []byte("mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := h.update()
		if r.State != schema.StateHeld || r.Code != outcome.CodeDrift ||
			!strings.Contains(r.Why, "was changed; left alone by rule") {
			t.Errorf("update: %s", r)
		}
	}
	h.runs("mine")
	told := slices.ContainsFunc(f.Reports(), func(r schema.PollRequest) bool {
		d := r.Report.Details
		return d != nil && d.Drift == "/usr/bin/agent was changed" && d.Repaired.IsZero()
	})
	if !told || lastReport(t, f).Code != outcome.CodeDrift {
		t.Errorf("reported %+v", f.Reports())
	}
	var text strings.Builder
	if err := h.status().Print(&text); err != nil ||
		!strings.Contains(text.String(), "differs      /usr/bin/agent was changed\n") {
		t.Errorf("%v\n%s", err, &text)
	}
	// Whoever asks for it gets the package as it came.
	if _, err := h.Update(t.Context(), UpdateOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	h.runs("1")
}

func TestWhatOnlyLooksUntouchedIsFoundWhenEachByteIsLookedAt(t *testing.T) {
	t.Parallel()
	_, h, _ := observed(t, schema.Tgz, nil)
	name := h.files.Path("/usr/bin/agent")
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(name, []byte("!"), 0o755), os.Chtimes(name, fi.ModTime(), fi.ModTime()))
	if err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("!")
	if _, err := h.Update(t.Context(), UpdateOptions{Verify: true}); err != nil {
		t.Fatal(err)
	}
	h.runs("1")
}

func TestWhatTheHostKeepsOfItsPackageIsFetchedAgainWhenItIsDamaged(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"altered segments": func(dir string) error {
			all, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*"))
			for _, name := range all {
				err = errors.Join(err, os.WriteFile(name, []byte("xx"), 0o600))
			}
			return err
		},
		"no segments": func(dir string) error { return os.RemoveAll(filepath.Join(dir, segmentsDir)) },
		"no manifest and no record": func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, packagesDir))
		},
		"an altered record": func(dir string) error {
			all, err := filepath.Glob(filepath.Join(dir, packagesDir, "*"+filesSuffix))
			return errors.Join(err, os.WriteFile(all[0], []byte("xx"), 0o600))
		},
		"nothing": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, packagesDir)),
				os.RemoveAll(filepath.Join(dir, segmentsDir)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, h, _ := observed(t, schema.Tgz, nil)
			if err := errors.Join(spoil(h.files.Stored()), os.Remove(h.files.Path("/usr/bin/agent"))); err != nil {
				t.Fatal(err)
			}
			r := h.update()
			if r.State != schema.StateCurrent || r.Why == "up to date" {
				t.Errorf("update: %s", r)
			}
			h.runs("1")
			if r := h.update(); r.Why != "up to date" {
				t.Errorf("afterwards: %s", r)
			}
			// Without a server, damage is said as what it is, and healed when there is one.
			config := h.files.Path(schema.ConfigFile(runtime.GOOS))
			if err := errors.Join(spoil(h.files.Stored()), os.Remove(config)); err != nil {
				t.Fatal(err)
			}
			f.Bend(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
			if _, err := h.Update(t.Context(), UpdateOptions{}); name != "an altered record" && (err == nil ||
				!strings.Contains(err.Error(), "what this host keeps of package") || fault.IsRefusal(err)) {
				t.Errorf("without a server: %v", err)
			}
		})
	}
}

func TestALinkInThePlaceOfAFileGivesWay(t *testing.T) {
	t.Parallel()
	_, h, _ := observed(t, schema.Tgz, nil)
	name := h.files.Path("/usr/bin/agent")
	if err := errors.Join(os.Remove(name), os.Symlink("/etc/hostname", name)); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("1")
	if to, err := os.Readlink(h.files.Stored(editedDir, "/usr/bin/agent")); err != nil || to != "/etc/hostname" {
		t.Errorf("kept %q, %v", to, err)
	}
}

func TestAFileThatIsGivenAwayIsTakenBack(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		needs.Missing(t, "only root can give files away")
	}
	_, h, _ := observed(t, schema.Tgz, nil)
	name := h.files.Path("/usr/bin/agent")
	if err := os.Chown(name, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if r := h.update(); !strings.Contains(r.Why, "/usr/bin/agent belongs to 65534:65534, not to 0:0") {
		t.Errorf("update: %s", r)
	}
	if r := h.update(); r.Why != "up to date" {
		t.Errorf("afterwards: %s", r)
	}
}
