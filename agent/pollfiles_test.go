package agent

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// asks are the paths that an update asks for, without digests.
func (h *host) asks(f *testfleet.Fleet) (paths []string) {
	for _, r := range f.Requests() {
		at := strings.LastIndexByte(r, '/')
		if strings.HasSuffix(r, schema.PollPath) {
			at = len(r) - 1
		}
		paths = append(paths, r[:at+1])
	}
	return paths
}

// The budget is four requests with the report; what is not needed of a segment is the fourth.
func TestAConfigOnlyUpdateIsAPollAManifestAndAReport(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	poll, manifest := "POST "+schema.PollPath, "GET "+schema.ManifestPath
	for i, change := range []func(){
		func() { f.Give("web01", version(f, "two")) },
		func() { f.Give("db01", version(f, "of another host")); f.Give("web01", version(f, "three")) },
		func() { f.Policy.MaxHold = schema.Duration(30 * day); f.Give("web01", version(f, "four")) },
	} {
		change()
		f.Requests()
		r := h.update()
		if asked := h.asks(f); r.Code != outcome.CodeInstalled || !slices.Equal(asked, []string{poll, manifest, poll}) {
			t.Errorf("update %d: %s, asked %q", i, r, asked)
		}
		if t.Logf("update %d fetched %d bytes", i, r.Fetched); i == 0 {
			continue
		}
		if asked := func() []string { h.update(); return h.asks(f) }(); !slices.Equal(asked, []string{poll}) {
			t.Errorf("idle after update %d: asked %q", i, asked)
		}
	}
	s := spec("five")
	s.Shared = map[string]string{"/usr/lib/acme/big": bulk + "changed"}
	f.Give("web01", f.Pack(s))
	f.Requests()
	h.update()
	if asked := h.asks(f); !slices.Equal(asked, []string{poll, manifest, "GET " + schema.SegmentPath, poll}) {
		t.Errorf("with a new segment it asks %q", asked)
	}
}

// What a hostile poll brings is not installed, whoever made it, and the host goes on by itself: it asks for what it
// lacks.
func TestWhatAPollBringsIsBelievedForItsSignaturesOnly(t *testing.T) {
	t.Parallel()
	other := testfleet.New(t)
	other.Give("web01", version(other, "evil"))
	for name, bring := range map[string]func(f *testfleet.Fleet, old, files []schema.PollFile) []schema.PollFile{
		"nothing": func(*testfleet.Fleet, []schema.PollFile, []schema.PollFile) []schema.PollFile {
			return []schema.PollFile{{Name: "timestamp.json"}}
		},
		"altered": func(_ *testfleet.Fleet, _, files []schema.PollFile) []schema.PollFile {
			for i := range files {
				files[i].Data = slices.Clone(files[i].Data)
				files[i].Data[len(files[i].Data)/2] ^= 1
			}
			return files
		},
		"null": func(_ *testfleet.Fleet, _, files []schema.PollFile) []schema.PollFile {
			for i := range files {
				files[i] = schema.PollFile{Name: files[i].Name, Data: []byte("null")}
			}
			return files
		},
		"old versions under new names": func(_ *testfleet.Fleet, old, files []schema.PollFile) []schema.PollFile {
			for i := 1; i < len(old); i++ { // an old timestamp too is what a server that freezes a host says (hold_test.go)
				files[i] = schema.PollFile{Name: files[i].Name, Data: old[i].Data}
			}
			return files
		},
		"another fleet's": func(f *testfleet.Fleet, _, files []schema.PollFile) []schema.PollFile {
			for i, name := range []string{"timestamp.json", "2.snapshot.json", "2.targets.json"} {
				files[i] = schema.PollFile{Name: files[i].Name, Data: other.Files[name]}
			}
			return files
		},
		"another host's bin": func(f *testfleet.Fleet, _, files []schema.PollFile) []schema.PollFile {
			for i := range files {
				if !strings.HasSuffix(files[i].Name, "."+f.Bin("web01")+".json") {
					continue
				}
				for n := range 4 {
					if bin := fmt.Sprintf("bin-%x", n); bin != f.Bin("web01") {
						files[i] = schema.PollFile{Name: files[i].Name, Data: f.Files["1."+bin+".json"]}
					}
				}
			}
			return files
		},
		"more than one of a name": func(_ *testfleet.Fleet, _, files []schema.PollFile) []schema.PollFile {
			var all []schema.PollFile
			for _, file := range files {
				all = append(all, schema.PollFile{Name: file.Name, Data: []byte("{}")}, file)
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			var old []schema.PollFile
			for _, n := range []string{"timestamp.json", "2.snapshot.json", "2.targets.json", "2." + f.Bin("web01") + ".json"} {
				old = append(old, schema.PollFile{Data: f.Files[n]})
			}
			f.Give("web01", p)
			brought := 0
			f.Bring(func(files []schema.PollFile) []schema.PollFile {
				files = bring(f, old, files)
				brought = len(files)
				return files
			})
			f.Requests()
			r := h.update()
			asked := f.Requests()
			// Poll, manifest, segment, report, and one for each file at most.
			if r.Code != outcome.CodeInstalled || len(asked) > 4+5 || brought == 0 {
				t.Errorf("%s, asked %q", r, asked)
			}
			h.runs("two")
		})
	}
	// Nor is there another way in when the server's files are of the same hand.
	t.Run("and fallen back on", func(t *testing.T) {
		f, h, p := attacked(t)
		f.Give("web01", p)
		flip := func(b []byte) []byte { b = slices.Clone(b); b[len(b)/2] ^= 1; return b }
		f.Bring(func(files []schema.PollFile) []schema.PollFile {
			for i := range files[1:] {
				files[1+i].Data = flip(files[1+i].Data)
			}
			return files
		})
		f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
			if name, ok := strings.CutPrefix(r.URL.Path, schema.MetadataPath); ok && f.Files[name] != nil {
				w.Write(flip(f.Files[name]))
				return true
			}
			return false
		})
		h.refused("snapshot")
		f.Bring(nil)
		h.recovers(f, "two")
	})
	// A poll that is too long as a whole is none.
	t.Run("oversized", func(t *testing.T) {
		f, h, p := attacked(t)
		f.Give("web01", p)
		f.Bring(func(files []schema.PollFile) []schema.PollFile {
			files[1].Data = make([]byte, schema.MaxWire)
			return files
		})
		h.refused("longer than")
		f.Bring(nil)
		h.recovers(f, "two")
	})
}

// A second key signs later: the host has the manifest by then, and asks for the signatures until they are enough.
func TestAHostThatWaitsForASecondSignatureAsksForNothingElse(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	second := trusttest.NewKey()
	h := registered(t, f, "web01")
	h.bake(f, func(c *schema.AgentConfig) {
		c.Keys = append(c.Keys, schema.AcceptedKey{Name: "second", Public: second.PEM()})
		c.Threshold = 2
	})
	p := version(f, "two")
	f.Give("web01", p)
	h.refused("1 valid of 2")
	poll, manifest := "POST "+schema.PollPath, "GET "+schema.ManifestPath
	for range 2 {
		f.Requests()
		r, _ := h.Update(t.Context(), UpdateOptions{})
		if asked := h.asks(f); !slices.Equal(asked, []string{poll, manifest}) || r.Fetched > 2000 {
			t.Errorf("while it waits it asks %q and reads %d bytes", asked, r.Fetched)
		}
	}
	p.Signers = []trusttest.Key{f.Package, second}
	f.Put(p)
	f.Requests()
	h.update()
	if asked := h.asks(f); !slices.Equal(asked, []string{poll, manifest, "GET " + schema.SegmentPath, poll}) {
		t.Errorf("asked %q", asked)
	}
	h.runs("two")
}
