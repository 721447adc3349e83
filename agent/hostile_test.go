package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// escapes is what a hostile server would have a terminal, a log or a page do.
const escapes = "\x1b[2J\x1b]0;owned\x07\nroot: all is well\r\u202egnp.exe\u0085\u200b"

// A server, or whoever is in its place, that fills what a host keeps and shows of it.
func TestAHostileServerNeitherFillsTheStateNorWritesOnTheTerminal(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(escapes, 1<<11)
	number := strings.Repeat("9", 5<<20)
	say := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			w.Write([]byte(body))
		}
	}
	value := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	problem := func(status int) func(http.ResponseWriter) {
		return say(status, value(schema.Problem{Error: escapes, Hint: escapes}))
	}
	envelope := func(keyID, payloadType string) string {
		return value(map[string]any{"payloadType": payloadType, "payload": "e30=",
			"signatures": []map[string]string{{"keyid": keyID, "sig": "AA=="}, {"keyid": keyID, "sig": escapes}}})
	}
	list := func(one string, n int) string {
		return `{"statements":[` + strings.Repeat(one+",", n-1) + one + `]}`
	}
	poll, manifest, metadata := schema.PollPath, schema.ManifestPath, schema.MetadataPath
	header := func(status int, name, value string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set(name, value)
			problem(status)(w)
		}
	}
	polled := func(a schema.PollAnswer) func(http.ResponseWriter) {
		a.Schema, a.Root = 1, 1
		return say(200, value(a))
	}
	for _, channel := range []struct {
		name, path string
		answer     func(http.ResponseWriter)
	}{
		{"a number in the poll's answer", poll, say(200, `{"schema":1,"root":`+number[:200<<10]+`}`)},
		{"a string in the poll's answer", poll, say(200, `{"schema":1,"root":`+value(long[:30<<10])+`}`)},
		{"a version of the poll's answer", poll, say(200, `{"schema":`+strconv.Itoa(1<<40)+`}`)},
		{"why it holds the host", poll, polled(schema.PollAnswer{Hold: long[:30<<10]})},
		{"the site's name", poll, polled(schema.PollAnswer{Site: long[:30<<10]})},
		{"the host's name", poll, polled(schema.PollAnswer{Name: long[:30<<10]})},
		{"files without end", poll, say(200, `{"schema":1,"root":1,"files":[`+strings.Repeat(`{},`, 50000)+`{}]}`)},
		{"names of files", poll, polled(schema.PollAnswer{Files: []schema.PollFile{{Name: escapes}}})},
		{"an error's text", poll, problem(400)},
		{"a denial's text", poll, problem(403)},
		{"an error's text that is no JSON", poll, say(500, long)},
		{"when to come again", poll, header(429, "Retry-After", number[:60])},
		{"when to come again, as text", poll, header(429, "Retry-After", "\t\u202e")},
		{"what kind of page it sends", poll, header(200, "Content-Type", "a/\u202eb")},
		{"a number in the manifest's place", manifest, say(200, `{"against":`+number+`}`)},
		{"a number as a statement's list", manifest, say(200, `{"statements":`+number+`}`)},
		{"an error of the manifest", manifest, problem(404)},
		{"envelopes without end", manifest, say(200, list("0", 500000))},
		{"as many envelopes as may be", manifest,
			say(200, list(envelope(escapes, schema.StatementType), schema.MaxEnvelopes))},
		{"statements of another type", manifest, say(200, list(envelope("", long[:4000]), schema.MaxEnvelopes))},
		{"statements that are numbers", manifest, say(200, list(number[:10000], schema.MaxEnvelopes))},
		{"names in statements twice", manifest,
			say(200, list(`{`+value(escapes)+`:1,`+value(escapes)+`:2}`, schema.MaxEnvelopes))},
		{"a number in the timestamp", metadata, say(200, `{"signed":`+number[:10<<10]+`}`)},
		{"a number in the snapshot", metadata, say(200, `{"signed":{"version":`+number[:1<<20]+`}}`)},
		{"an error's text about the metadata", metadata, problem(404)},
		{"an error's text about a package part", schema.SegmentPath, problem(400)},
	} {
		t.Run(channel.name, func(t *testing.T) {
			needs.Alike(t)
			f := testfleet.New(t)
			h := registered(t, f, "web01")
			one := spec("one")
			f.Give("web01", f.Pack(one))
			h.update()
			two := spec("two")
			two.Shared = map[string]string{"/usr/lib/acme/big": bulk + "changed"}
			f.Give("web01", f.Pack(two))
			var warned bytes.Buffer
			h.opts.Warn = func(s string) { fmt.Fprintln(&warned, s) }
			met := false
			f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, channel.path) {
					return false
				}
				met = true
				channel.answer(w)
				return true
			})
			r, err := h.Update(t.Context(), UpdateOptions{})
			if !met {
				t.Error("nothing was asked of the hostile server")
			}
			if len(r.Error) > 2000 || len(r.Why) > 2000 {
				t.Errorf("the outcome has %d and %d bytes", len(r.Error), len(r.Why))
			}
			if err != nil && len(err.Error()) > 50<<10 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			fi, serr := os.Stat(h.files.Stored(state.RecordFile))
			if serr != nil || fi.Size() > 32<<10 {
				t.Errorf("the state has %d bytes, %v", fi.Size(), serr)
			}
			st, serr := h.Status()
			if serr != nil {
				t.Fatal(serr)
			}
			var status bytes.Buffer
			if err := st.Print(&status); err != nil {
				t.Fatal(err)
			}
			log := h.reads("/var/lib/bakehouse/agent.log")
			for what, text := range map[string]string{"narrated": h.said.String(), "warned": warned.String(),
				"in the log": log, "shown by status": status.String(), "the result": r.String(),
				"in the state": h.reads("/var/lib/bakehouse/state.json")} {
				if i := strings.IndexFunc(text, func(r rune) bool {
					return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u200b'
				}); i >= 0 {
					t.Errorf("%s: %q", what, text[max(0, i-80):min(len(text), i+20)])
				}
				for line := range strings.Lines(text) {
					if len(line) > 32<<10 || strings.HasPrefix(line, "root: all is well") {
						t.Errorf("%s is a line of %d bytes, %.40q", what, len(line), line)
					}
				}
			}
			h.recovers(f, "two")
			for _, q := range f.Reports() {
				if b, err := json.Marshal(q); err != nil || len(b) > 24<<10 {
					t.Errorf("a report has %d bytes, %v", len(b), err)
				}
			}
		})
	}
}

func TestRegistrationByForceWorksWhateverTheStateHolds(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"too much to read":  `{"schema":1,"hold":"` + strings.Repeat("x", 22<<20) + `"}`,
		"nothing":           "",
		"zeros":             strings.Repeat("\x00", 4096),
		"another program's": `{"schema":99}`,
		"wrong types":       `{"schema":1,"registration":[1,2]}`,
		"deep nesting":      strings.Repeat("[", 1<<20),
		"no usable host":    `{"schema":1,"registration":{"host":"\u001b","server":"x"}}`,
	} {
		for _, also := range []string{"and the copy is whole", "and so does the copy"} {
			t.Run(name+" "+also, func(t *testing.T) {
				needs.Alike(t)
				f := testfleet.New(t)
				h := registered(t, f, "web01")
				f.Give("web01", version(f, "one"))
				h.update()
				for _, file := range []string{state.RecordFile, state.IdentityFile} {
					if file == state.IdentityFile && also == "and the copy is whole" {
						continue
					}
					if err := os.WriteFile(h.files.Stored(file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if server, _, _, _ := h.Known(); server != f.URL {
					t.Errorf("the package's server is not known: %q", server)
				}
				o := options(t, f, "web01")
				o.Force, o.Server, o.Anchor, o.Keys = true, "", "", nil
				if _, err := h.Register(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				f.Give("web01", version(f, "two"))
				h.update()
				h.runs("two")
			})
		}
	}
}
