package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// Attacks by what is sent and when, and on the host's own surroundings.

// paths are what a host asks for, in the order in which it does.
var paths = []struct{ what, path string }{{"poll", schema.PollPath}, {"metadata", schema.MetadataPath},
	{"policy", schema.TargetPath},
	{"manifest", schema.ManifestPath}, {"segment", schema.SegmentPath}}

func freeze(b *besieged) {
	b.mu.Lock()
	b.ahead = 8 * 24 * time.Hour
	b.mu.Unlock()
	b.ends(outcome{schema.StateHeld, "expired", false, []string{"timestamp metadata expired at"}})
	// Fresh metadata arrive, by that clock.
	b.offers(2)
	b.usurp(func(_, _ *metadata.TargetsType, _ *metadata.SnapshotType, stamp *metadata.TimestampType) {
		stamp.Expires = stamp.Expires.AddDate(0, 0, 14)
	})
	b.untilServed(3)
	b.updates("two")
}

func freezeOfOne(b *besieged) {
	bin := b.bin("web01")
	b.offers(2)
	old, err := os.ReadFile(b.file(schema.MetadataKey(bin, b.newest(bin)-1)))
	must(b.t, err)
	b.bends(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "."+bin+".json") {
			w.Write(old)
			return true
		}
		return false
	})
	b.ends(refused(bin, "version"))
	// Or it never hears of anything new, while its neighbours do.
	b.bends(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == schema.PollPath {
			w.WriteHeader(http.StatusNoContent)
		}
		return r.URL.Path == schema.PollPath
	})
	b.mu.Lock()
	b.ahead = 8 * 24 * time.Hour
	b.mu.Unlock()
	b.ends(outcome{schema.StateHeld, "expired", false, []string{"timestamp metadata expired at"}})
	b.heals(2)
}

func endlessData(b *besieged) {
	b.offers(2)
	for _, p := range paths {
		b.bends(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, p.path) {
				return false
			}
			for chunk := bytes.Repeat([]byte(" "), 64<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					return true
				}
			}
		})
		words := []string{"is longer than"}
		if p.what == "segment" {
			words = []string{"segment", "is altered"}
		}
		b.ends(refused(words...))
	}
	b.heals(2)
}

func slowServer(b *besieged) {
	b.offers(2)
	for _, p := range paths {
		b.bends(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, p.path) {
				return false
			}
			fmt.Fprint(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		})
		b.ends(outcome{schema.StateFailed, "unreachable", false, []string{"the server sends too slowly"}})
	}
	b.heals(2)
}

// Connections that hang hold nothing up: each costs the server a few kilobytes until it ends it.
func slowClients(b *besieged) {
	b.slowly(200)
	b.offers(2)
	b.updates("two")
}

func malformed(b *besieged) {
	b.offers(2)
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	for name, body := range map[string]string{
		"empty": " ", "null": "null", "an array of null": "[null,null]", "a number": "7", "not JSON": "<html>504</html>",
		"deep":           deep,
		"null entries":   `{"schema":1,"timestamp":null,"signed":{"_type":"targets","version":2,"targets":{"a":null},"meta":{"snapshot.json":null},"keys":{"a":null}},"signatures":[null]}`,
		"duplicate keys": `{"schema":1,"schema":1,"signed":{"version":1},"signed":{"version":2},"signatures":[],"signatures":[]}`,
		"wrong types":    `{"schema":"1","timestamp":{},"root":"x","signed":[],"signatures":{}}`,
		"huge counts":    `[` + strings.Repeat(`{"payloadType":"x"},`, 10000) + `{}]`,
	} {
		for _, p := range paths[:len(paths)-1] { // what is a segment is not parsed
			b.forgets()
			b.bends(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, p.path) {
					fmt.Fprint(w, body)
					return true
				}
				return false
			})
			want := refused()
			switch {
			case p.what == "poll" && name == "null entries": // says nothing, as a 204 does
				want = unmoved()
			case p.what == "poll" && name == "null":
				want = outcome{schema.StateFailed, "unreachable", false, []string{"which is not an answer"}}
			case p.what == "poll":
				want = outcome{schema.StateFailed, "unreachable", false, []string{"an answer of a Bakehouse server"}}
			}
			b.ends(want)
			if b.t.Failed() {
				b.t.Fatalf("%s in the place of %s", name, p.what)
			}
		}
	}
	// A timestamp that is each of these, inside an answer in order and as a file.
	for _, body := range []string{"null", "{}", deep,
		`{"signed":{"_type":"timestamp","version":9,"meta":{"snapshot.json":null}},"signatures":[]}`} {
		b.bends(func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case schema.PollPath:
				json.NewEncoder(w).Encode(schema.PollAnswer{Schema: 1, Root: 1, Files: stamped([]byte(body))})
			case schema.MetadataPath + "timestamp.json":
				fmt.Fprint(w, body)
			default:
				return false
			}
			return true
		})
		b.ends(refused("timestamp.json"))
	}
	b.heals(2)
}

func symlinkedState(b *besieged) {
	needs.Root(b.t, "giving a file away")
	b.offers(2)
	state := filepath.Join(b.root, schema.StateDir("linux"))
	must(b.t, os.Rename(state, state+".moved"))
	must(b.t, os.Symlink(state+".moved", state))
	must(b.t, os.Lchown(state, 12345, 12345))
	b.ends(outcome{schema.StateRefused, "", true, []string{"the state directory", "belongs to user 12345"}})
	must(b.t, os.Remove(state))
	must(b.t, os.Rename(state+".moved", state))
	b.heals(2)
}

// sets the host's clock, which then stands still.
func (b *besieged) sets(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = at
}

func clock1970(b *besieged) {
	b.sets(time.Unix(0, 0))
	b.ends(unmoved())
	b.offers(2)
	b.updates("two") // by the time when the policy that it holds was issued
	b.heals(3)
}

func clock2100(b *besieged) {
	b.offers(2)
	b.sets(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	b.ends(outcome{schema.StateFailed, "unreachable", false,
		[]string{"has expired (the clock here says 2100-01-01T00:00:00Z)"}})
	b.sets(time.Now().AddDate(0, 0, 60)) // the server's certificate is good then, and no metadata are
	b.ends(outcome{schema.StateHeld, "expired", false, []string{"expired at", "here"}})
	b.heals(2)
}
