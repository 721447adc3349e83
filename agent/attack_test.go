package agent

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// attacked is a fleet and a host that runs release 1; release 2 is offered, for an attack to bend.
func attacked(t *testing.T) (*testfleet.Fleet, *host, *trusttest.Package) {
	t.Helper()
	needs.Alike(t)
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	s := spec("two")
	s.Shared = map[string]string{"/usr/lib/acme/big": bulk + "changed"}
	p := f.Pack(s)
	return f, h, p
}

// recovers shows that the host takes the true release once the attack is over.
func (h *host) recovers(f *testfleet.Fleet, want string) {
	h.t.Helper()
	f.Bend(nil)
	h.update()
	h.runs(want)
}

func segmentOf(p *trusttest.Package) schema.Digest { return p.Manifest.Segments()[0].Digest }

func TestTamperedSegment(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"longer":        func(b []byte) []byte { return append(b, 0) },
		"another's":     func([]byte) []byte { return []byte("a segment of another package") },
	} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			f.Give("web01", p)
			var whole []byte
			f.Segment(segmentOf(p), func(b []byte) []byte { whole = bytes.Clone(b); return change(b) })
			if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || name != "another's" && !fault.IsRefusal(err) {
				t.Errorf("update: %v, %s", err, r)
			}
			h.runs("one")
			f.Segment(segmentOf(p), func([]byte) []byte { return whole })
			h.recovers(f, "two")
		})
	}
}

func TestTamperedSegmentOnTheHostsOwnDiskIsFetchedAgain(t *testing.T) {
	t.Parallel()
	f, h, _ := attacked(t)
	one := version(f, "one-again")
	if err := os.WriteFile(h.files.Stored(segmentsDir, segmentOf(one).Hex()), []byte("bent"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", one)
	h.update()
	h.runs("one-again")
}

func TestTamperedManifest(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	other, err := f.Pack(spec("evil")).Manifest.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	f.Manifest(f.ManifestOf("web01"), other)
	h.refused("manifest", "sha256")
}

// The publisher's keys signed a target whose manifest tells another story: each is refused before anything is fetched.
func TestManifestAgainstTheSignedAssignment(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bend func(m *schema.Manifest)
		word string
	}{
		"another platform": {func(m *schema.Manifest) { m.Platform = schema.Platform{OS: "plan9", Arch: "386"} },
			"is for plan9/386"},
		"an anchor of another fleet": {func(m *schema.Manifest) { m.Anchor = schema.DigestOf([]byte("elsewhere")) },
			"not a verified root of this fleet"},
		"another package's name": {func(m *schema.Manifest) { m.Name = "openssl" }, `is a package "openssl"`},
	} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			test.bend(p.Manifest)
			f.Give("web01", p)
			h.refused(test.word)
		})
	}
	t.Run("another recipe", func(t *testing.T) {
		f, h, p := attacked(t)
		f.Give("web01", p, func(target *schema.Target) { target.Recipe = "0000000000000000" })
		h.refused("is for recipe")
	})
}

func TestArbitraryInstallOfAnotherHostsPackage(t *testing.T) {
	t.Parallel()
	f, h, _ := attacked(t)
	theirs := version(f, "db's")
	f.Give("db01", theirs)
	mine := version(f, "mine")
	f.Give("web01", mine)
	// The server answers with the other host's manifest, which is genuine and signed.
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, schema.ManifestPath) {
			r.URL.Path = schema.ManifestPath + f.ManifestOf("db01").Hex()
		}
		return false
	})
	h.refused("manifest")
	h.recovers(f, "mine")
}

func TestUnknownSignerAndMissingAndBorrowedStatements(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(f *testfleet.Fleet, p *trusttest.Package){
		"a key that is not accepted": func(f *testfleet.Fleet, p *trusttest.Package) {
			p.Signers = []trusttest.Key{trusttest.NewKey()}
		},
		"no statement at all": func(f *testfleet.Fleet, p *trusttest.Package) { p.Signers = []trusttest.Key{} },
		"a statement on another package": func(f *testfleet.Fleet, p *trusttest.Package) {
			s := schema.StatementFor(version(f, "one").Manifest, schema.DigestOf(nil))
			p.Statement = &s
		},
		"a statement for another fleet": func(f *testfleet.Fleet, p *trusttest.Package) {
			b, err := p.Manifest.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			s := schema.StatementFor(p.Manifest, schema.DigestOf(b))
			s.Anchor = schema.DigestOf([]byte("elsewhere"))
			p.Statement = &s
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			test(f, p)
			f.Give("web01", p)
			f.Requests()
			r := h.refused("No valid signature found")
			if !strings.HasSuffix(h.stateOf().Last.Error, "No valid signature found") ||
				!strings.Contains(r.String(), "No valid signature found") {
				t.Errorf("the refusal ends %q", r)
			}
			for _, r := range f.Requests() {
				if strings.Contains(r, schema.SegmentPath) {
					t.Errorf("%s before the signature was known", r)
				}
			}
		})
	}
}

func TestOneKeyCannotCountTwice(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	other := trusttest.NewKey()
	h := registered(t, f, "web01")
	two := spec("one")
	two.Config = false
	two.Own[schema.ConfigFile(runtime.GOOS)] = string(f.Config(func(c *schema.AgentConfig) {
		c.Keys = append(c.Keys, schema.AcceptedKey{Name: "second", Public: other.PEM()})
		c.Threshold = 2
	}))
	two.Own[schema.AnchorFile(runtime.GOOS)] = string(f.Anchor)
	f.Give("web01", f.Pack(two))
	h.update()
	p := version(f, "two")
	p.Signers = []trusttest.Key{f.Package, f.Package}
	f.Give("web01", p)
	h.refused("has signed already", "1 valid of 2")
	p.Signers = []trusttest.Key{f.Package, other}
	f.Give("web01", p)
	h.update()
	h.runs("two")
}

func TestATimestampOfAnotherFleet(t *testing.T) {
	t.Parallel()
	f, h, _ := attacked(t)
	g := testfleet.New(t)
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case schema.PollPath:
			json.NewEncoder(w).Encode(schema.PollAnswer{Schema: 1, Root: 1, Files: stamped(g.Head())})
		case schema.MetadataPath + "timestamp.json":
			w.Write(g.Head())
		default:
			return false
		}
		return true
	})
	h.refused("timestamp")
}

func TestAnUnknownAnchorOnTheHostItself(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	g := testfleet.New(t)
	f.Add("web01")
	h := newHost(t, f)
	o := options(t, f, "web01")
	o.Anchor = file(t, g.Anchor)
	if _, err := h.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "one"))
	h.refused()
	h.runs("absent")
}

func TestEndlessData(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"manifest": schema.ManifestPath, "segment": schema.SegmentPath,
		"snapshot": schema.MetadataPath, "poll": schema.PollPath} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			f.Give("web01", p)
			sent := 0
			f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, path) || strings.Contains(r.URL.Path, "root") {
					return false
				}
				for chunk := make([]byte, 64<<10); ; sent += len(chunk) {
					if _, err := w.Write(chunk); err != nil {
						return true
					}
				}
			})
			r, err := h.Update(t.Context(), UpdateOptions{})
			if err == nil {
				t.Errorf("update: %s", r)
			}
			if r.Fetched > 20<<20 {
				t.Errorf("read %d bytes", r.Fetched)
			}
			h.runs("one")
			h.recovers(f, "two")
		})
	}
}

func TestAGzipBombInTheManifestsPlace(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	f.Manifest(f.ManifestOf("web01"), make([]byte, schema.MaxManifest+1))
	h.refused("manifest", "inflates to more")
}

func TestPathTraversalInASignedArchive(t *testing.T) {
	t.Parallel()
	f, h, _ := attacked(t)
	s := spec("two")
	s.Own["/../../../../etc/owned"] = "x"
	f.Give("web01", f.Pack(s))
	h.refused("points outside of the tree")
	if got := h.reads("/etc/owned"); got != "absent" {
		t.Errorf("/etc/owned is %q", got)
	}
}

func TestARedirectIsNotFollowedAndGetsNoCredentials(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	asked := false
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer thief.Close()
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		return true
	})
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "not followed") ||
		asked {
		t.Errorf("update: %v, the other server was asked: %v", err, asked)
	}
}

func TestADownloadThatBreaksOffGoesOnWhereItEnded(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	ref := p.Manifest.Segments()[0]
	var ranges []string
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, schema.SegmentPath) {
			return false
		}
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) == 1 {
			w.Header().Set("Content-Length", "100000")
			w.Write(p.Bytes[:1000])
			return true // and the connection ends
		}
		return false
	})
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnreachable {
		t.Fatalf("update: %v, %s", err, r)
	}
	if fi, err := os.Stat(h.files.Stored(segmentsDir, ref.Digest.Hex()+partSuffix)); err != nil || fi.Size() != 1000 {
		t.Fatalf("the first part: %v, %v", fi, err)
	}
	h.update()
	h.runs("two")
	if len(ranges) != 2 || ranges[0] != "" || ranges[1] != "bytes=1000-" {
		t.Errorf("ranges %q", ranges)
	}
}

func TestADamagedFirstPartIsFetchedAnewOnce(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	if err := os.WriteFile(h.files.Stored(segmentsDir, segmentOf(p).Hex()+partSuffix), []byte("bent"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("two")
}

func TestTheClockSetTo1970DoesNotHoldAnUpdateBack(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	h.opts.Now = func() time.Time { return time.Unix(0, 0) }
	h.update()
	h.runs("two")
}

func TestAStateDirectoryThatOthersControlIsRefused(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	for name, put := range map[string]func(dir string) error{
		"writable by all": func(dir string) error { return os.Chmod(dir, 0o777) },
		"another user's": func(dir string) error {
			return os.Chown(dir, 12345, 12345)
		},
		"another user's link": func(dir string) error {
			if err := os.Rename(dir, dir+".moved"); err != nil {
				return err
			}
			if err := os.Symlink(dir+".moved", dir); err != nil {
				return err
			}
			return os.Lchown(dir, 12345, 12345)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "writable by all" {
				needs.Root(t, "giving a file away")
			}
			h := registered(t, f, "web01")
			if err := put(h.files.Stored()); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Update(t.Context(), UpdateOptions{}); !fault.IsRefusal(err) {
				t.Errorf("update: %v", err)
			}
			if _, err := h.Status(); !fault.IsRefusal(err) {
				t.Errorf("status: %v", err)
			}
		})
	}
}
