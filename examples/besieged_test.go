package examples_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"bakehouse/agent"
	"bakehouse/agent/contact"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

// fortress is a fleet with three published releases, made once. Every attack gets a copy of it (besieged).
type fortress struct {
	*operator
	dir     string
	signers map[string]trusttest.Key // of each name, for what a thief of it could sign
	states  []string                 // the store after each release
}

var fortressKeys = []namedKey{
	{"offline", "root"}, {"assign", "targets"}, {"online", "snapshot,timestamp"}, {"release", "package"},
	{"second", "package"},
}

const appPlugin = `package app

plugin: {
	params: text: string
	files: "/usr/bin/app": {content: "#!/bin/sh\necho \(params.text)\n", mode: 0o755}
	files: "/usr/lib/app/data": source: "data"
}
`

// newFortress makes the fleet with the commands that operators use. Both of its package keys must sign each package.
// The server that is baked in answers nobody: hosts know the one that they are registered with.
func newFortress(t *testing.T) *fortress {
	t.Helper()
	listen := freePort(t, netip.MustParseAddr("127.0.0.1"))
	o := newOperator(t, "minimal", listen)
	f := &fortress{operator: o, dir: filepath.Dir(o.repo), signers: map[string]trusttest.Key{}}
	o.keys = fortressKeys
	o.replace("fleet.cue", "url: \"https://bakehouse.example:8443\"\n", "")
	o.replace("fleet.cue", "enabled: false", "enabled: true")
	o.write("hosts/hosts.cue", "package hosts\n\ndefaults: {platform: \"linux/"+runtime.GOARCH+
		"\", format: \"tgz\"}\nhosts: {web01: {}, db01: {}}\n")
	o.write("hosts/rules.cue", "package hosts\n\nrules: updater: [{value: {threshold: 2, server: "+
		"\"https://127.0.0.1:9\"}}]\nrules: app: [{when: hosts: [\"db01\"], value: text: \"database\"}, {value: text: "+
		"\"one\"}]\n")
	must(t, os.MkdirAll(filepath.Join(o.repo, "plugins/app"), 0o755))
	o.write("plugins/app/plugin.cue", appPlugin)
	o.write("plugins/app/data", strings.Repeat("data of release one\n", 5000))
	programs := filepath.Join(f.dir, "programs")
	must(t, os.Mkdir(programs, 0o755))
	// It stands for the host program, whose work is done by package agent in this process.
	must(t, os.WriteFile(filepath.Join(programs, "bakehouse-agent-linux-"+runtime.GOARCH), []byte("#!/bin/sh\nexit 0\n"),
		0o755))
	o.createKeys()
	o.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--programs", programs)
	for _, k := range fortressKeys {
		b, err := os.ReadFile(filepath.Join(o.home, ".config/bakehouse/keys", k.name+".key"))
		must(t, err)
		private, err := cryptoutils.UnmarshalPEMToPrivateKey(b,
			cryptoutils.StaticPasswordFunc([]byte("passphrase of "+k.name)))
		must(t, err)
		f.signers[k.name] = trusttest.KeyOf(private.(crypto.Signer))
	}
	for i, text := range []string{"one", "two", "three"} {
		if i > 0 {
			o.replace("hosts/rules.cue", fmt.Sprintf("text: %q}]", f.says(i)), fmt.Sprintf("text: %q}]", text))
			o.write("plugins/app/data", strings.Repeat("data of release "+text+"\n", 5000))
		}
		// Another policy each time, also when two releases are of the same second.
		o.write("rollout.cue", fmt.Sprintf("package fleet\n\nrollout: maxHold: \"%dd\"\n", 100+i))
		o.commit("Release " + text)
		o.reconcile("--programs", programs)
		state := filepath.Join(f.dir, fmt.Sprint("state-", i+1))
		must(t, os.CopyFS(state, os.DirFS(o.store)))
		f.states = append(f.states, state)
	}
	// web01 runs release one.
	must(t, os.RemoveAll(o.store))
	b := &besieged{fortress: f, operator: o, root: filepath.Join(f.dir, "web01")}
	b.publish(1)
	stop := o.serve(listen)
	b.start()
	ca := filepath.Join(f.dir, "ca.pem")
	must(t, os.WriteFile(ca, []byte(o.authority), 0o600))
	keyFiles := []string{}
	for _, name := range []string{"release", "second"} {
		file := filepath.Join(f.dir, name+".pem")
		must(t, os.WriteFile(file, []byte(o.run("key", "show", name)), 0o600))
		keyFiles = append(keyFiles, file)
	}
	_, err := b.agent.Register(t.Context(), agent.RegisterOptions{Server: o.url, Host: "web01", User: "ops",
		Options:  contact.Options{CA: ca, Keys: keyFiles, Anchor: filepath.Join(o.repo, "trust/1.root.json")},
		Password: func() (string, error) { return password, nil }})
	must(t, err)
	b.updates("one")
	stop()
	return f
}

func (f *fortress) says(release int) string { return []string{"one", "two", "three"}[release-1] }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// besieged is a copy of the fortress: its store, published up to some release; the real server, which reads that; and
// the host web01, which runs what its last update installed. Between host and server stands a relay that an attack may
// bend.
type besieged struct {
	*fortress
	*operator // of the copy
	root      string
	relayed   string // the server's URL, as the host knows it
	agent     *agent.Agent
	stop      func()
	said      bytes.Buffer

	mu    sync.Mutex
	ahead time.Duration // of the host's clock
	clock time.Time     // of the host, if it stands still
	bend  func(http.ResponseWriter, *http.Request) bool
	raw   bool
}

// besiege copies the fortress for one attack, at release one.
func (f *fortress) besiege(t *testing.T) *besieged {
	t.Helper()
	dir := t.TempDir()
	o := *f.operator
	o.t, o.store, o.repo, o.home = t, filepath.Join(dir, "store"), filepath.Join(dir, "fleet"), filepath.Join(dir, "home")
	b := &besieged{fortress: f, operator: &o, root: filepath.Join(dir, "web01")}
	inventory, err := filepath.Glob(filepath.Join(f.dir, "inventory.db*"))
	must(t, err)
	b.copyTo(dir, append(inventory, f.repo, f.home)...)
	b.publish(1)
	b.restart()

	relay := httptest.NewUnstartedServer(http.HandlerFunc(b.relay))
	pair, err := tls.LoadX509KeyPair(o.cert, o.key)
	must(t, err)
	relay.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	relay.Config.ErrorLog = log.New(io.Discard, "", 0)
	relay.StartTLS()
	t.Cleanup(func() { relay.CloseClientConnections(); relay.Close() })
	b.relayed = relay.URL
	b.forgets()
	return b
}

func (b *besieged) copyTo(dir string, from ...string) {
	b.t.Helper()
	if out, err := exec.CommandContext(b.t.Context(), "cp",
		append(append([]string{"--archive"}, from...), dir)...).CombinedOutput(); err != nil {
		b.t.Fatalf("cp: %v\n%s", err, out)
	}
}

// forgets makes the host what it was when the siege began.
func (b *besieged) forgets() {
	b.t.Helper()
	must(b.t, os.RemoveAll(b.root))
	b.copyTo(filepath.Dir(b.root), filepath.Join(b.dir, "web01"))
	b.edit(func(state map[string]any) {
		for _, way := range []string{"registration", "worked"} {
			state[way].(map[string]any)["server"] = b.relayed
		}
	})
	b.start()
}

// start makes the updater anew, as a new process would.
func (b *besieged) start() {
	b.t.Helper()
	var err error
	b.agent, err = agent.New(agent.Options{Root: b.root, Version: "1.2.3", Now: b.now, Narrate: &b.said,
		Stall: 500 * time.Millisecond})
	must(b.t, err)
}

func (b *besieged) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.clock.IsZero() {
		return b.clock
	}
	return time.Now().Add(b.ahead)
}

// restart starts the server, again if it runs.
func (b *besieged) restart() {
	b.t.Helper()
	if b.stop != nil {
		b.stop()
	}
	listen := freePort(b.t, netip.MustParseAddr("127.0.0.1"))
	b.mu.Lock()
	b.url = "https://" + listen.String()
	b.mu.Unlock()
	b.stop = b.serve(listen)
}

// relay hands requests on to the real server, or answers from the store's files as a server that checks nothing would.
func (b *besieged) relay(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	bend, raw, to := b.bend, b.raw, b.url
	b.mu.Unlock()
	if bend != nil && bend(w, r) || raw && b.hand(w, r) {
		return
	}
	at, err := url.Parse(to)
	if err != nil {
		panic(err)
	}
	proxy := &httputil.ReverseProxy{Transport: b.client.Transport, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(at) }}
	if bend != nil && r.URL.Path == schema.PollPath {
		proxy.ModifyResponse = onlyStamp
		r.Header.Del("Accept-Encoding")
	}
	proxy.ServeHTTP(w, r)
}

// onlyStamp takes out of a poll's answer all files but the timestamp, so that hosts ask for everything that is bent.
func onlyStamp(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return nil
	}
	var a schema.PollAnswer
	content, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close(), schema.Decode(content, &a)); err != nil {
		return err
	}
	a.Files = slices.DeleteFunc(a.Files, func(f schema.PollFile) bool { return f.Name != "timestamp.json" })
	content, err = json.Marshal(a)
	r.Body = io.NopCloser(bytes.NewReader(content))
	r.Header.Set("Content-Length", strconv.Itoa(len(content)))
	r.ContentLength = int64(len(content))
	return err
}

// stamped are the files of a poll that brings a timestamp and nothing else.
func stamped(timestamp []byte) []schema.PollFile {
	return []schema.PollFile{{Name: "timestamp.json", Data: timestamp}}
}

// bends puts fn before the server: it returns true if it has answered. nil takes it away.
func (b *besieged) bends(fn func(http.ResponseWriter, *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bend = fn
}

// careless makes the host's server one that hands out whatever its store holds: a remote site that was broken into.
func (b *besieged) careless() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.raw = true
}

// hand answers from the store's files, nothing verified.
func (b *besieged) hand(w http.ResponseWriter, r *http.Request) bool {
	dir, name := r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')+1],
		r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	d, _ := schema.ParseHex(strings.TrimSuffix(name, "."+schema.PolicyTarget))
	var key string
	switch dir {
	case schema.MetadataPath:
		if key = schema.MetadataDir + name; name == "timestamp.json" {
			key = schema.TimestampKey(b.head())
		}
	case schema.TargetPath:
		key = schema.TargetKey(d)
	case schema.ManifestPath:
		packed, err := os.ReadFile(b.file(schema.ManifestKey(d)))
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		a := schema.PackageAnswer{Manifest: packed, Statements: []json.RawMessage{}}
		if r.Header.Get(schema.HaveManifest) == d.Hex() {
			a.Manifest = nil
		}
		if _, err := schema.DecodeManifest(packed, d); err == nil { // or else it does not matter who signed it
			files, _ := filepath.Glob(b.file(schema.StatementsPrefix(d) + "*"))
			for _, f := range files {
				if s, err := os.ReadFile(f); err == nil && json.Valid(s) {
					a.Statements = append(a.Statements, s)
				}
			}
		}
		json.NewEncoder(w).Encode(a)
		return true
	case schema.SegmentPath:
		key = schema.SegmentKey(d)
	default:
		if r.URL.Path != schema.PollPath {
			return false
		}
		stamp, err := os.ReadFile(b.file(schema.TimestampKey(b.head())))
		if err != nil {
			return false
		}
		roots, _ := filepath.Glob(b.file(schema.MetadataDir + "*.root.json"))
		json.NewEncoder(w).Encode(schema.PollAnswer{Schema: 1, Root: int64(len(roots)), Files: stamped(stamp),
			Site: "central"})
		return true
	}
	content, err := os.ReadFile(b.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return true
}

// file is where the store keeps an object.
func (b *besieged) file(key string) string { return filepath.Join(b.store, filepath.FromSlash(key)) }

// head is the newest timestamp of the store.
func (b *besieged) head() (version int64) {
	b.t.Helper()
	files, err := os.ReadDir(b.file(schema.TimestampDir))
	must(b.t, err)
	for _, e := range files {
		if v, ok := schema.ParseTimestampKey(schema.TimestampDir + e.Name()); ok {
			version = max(version, v)
		}
	}
	return version
}

// publish brings the store to that release as reconcile left it, whatever was done to it; the timestamp comes last.
func (b *besieged) publish(release int) {
	b.t.Helper()
	b.copies(release, false)
	b.copies(release, true)
}

// copies brings the timestamps of a release to the store, or all else.
func (b *besieged) copies(release int, timestamps bool) {
	b.t.Helper()
	from := os.DirFS(b.states[release-1])
	must(b.t, fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") ||
			strings.HasPrefix(name, schema.TimestampDir) != timestamps {
			return err
		}
		content, err := fs.ReadFile(from, name)
		must(b.t, err)
		if there, err := os.ReadFile(b.file(name)); err != nil || !bytes.Equal(there, content) {
			b.put(name, content)
		}
		return nil
	}))
}

// infiltrates publishes a release that an attacker has changed before anybody could look at it. If its metadata do not
// verify, the server says so and goes on with the release before.
func (b *besieged) infiltrates(release int, serves bool, change func()) {
	b.t.Helper()
	b.copies(release, false)
	change()
	b.copies(release, true)
	b.noticed(serves)
}

// noticed waits until the server has looked at a new head: whether it serves it or refuses it.
func (b *besieged) noticed(serves bool) {
	b.t.Helper()
	if serves {
		b.untilServed(b.head())
	} else {
		b.untilHealth("a refusal of the store's head", func(h health) bool { return h.Status == "degraded" })
	}
}

// meets is an update by way of the real server, then one by way of a server that hands out all that the store holds.
func (b *besieged) meets(real, careless outcome) {
	b.t.Helper()
	b.ends(real)
	b.careless()
	b.ends(careless)
}

// offers publishes a release and waits until the server has it.
func (b *besieged) offers(release int) {
	b.t.Helper()
	b.publish(release)
	b.untilServed(int64(release))
}

// alter changes an object of the store behind everybody's back.
func (b *besieged) alter(key string, change func([]byte) []byte) {
	b.t.Helper()
	was, err := os.ReadFile(b.file(key))
	must(b.t, err)
	b.put(key, change(was))
}

func (b *besieged) put(key string, content []byte) {
	b.t.Helper()
	must(b.t, os.MkdirAll(filepath.Dir(b.file(key)), 0o755))
	must(b.t, os.WriteFile(b.file(key)+".new", content, 0o644))
	must(b.t, os.Rename(b.file(key)+".new", b.file(key)))
}

func (b *besieged) remove(key string) { b.t.Helper(); must(b.t, os.Remove(b.file(key))) }
