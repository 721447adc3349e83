package examples_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// flip changes one bit in the middle.
func flip(content []byte) []byte {
	content = bytes.Clone(content)
	content[len(content)/2] ^= 1
	return content
}

// outcome is how an update has to end.
type outcome struct {
	state, code string
	refusal     bool
	words       []string
}

func refused(words ...string) outcome {
	return outcome{schema.StateRefused, "unverified", true, words}
}

// unmoved is an update that finds nothing new, because the server goes on with what it verified before.
func unmoved() outcome { return outcome{schema.StateCurrent, "current", false, []string{"up to date"}} }

// ends is an update under attack: it ends as it should, and what runs on the host is what ran before.
func (b *besieged) ends(want outcome) {
	b.t.Helper()
	before := b.running()
	r, err := b.agent.Update(b.t.Context(), agent.UpdateOptions{})
	if r.Fetched > 64<<20 {
		b.t.Errorf("%d bytes were fetched", r.Fetched)
	}
	if r.State != want.state || r.Code != want.code || fault.IsRefusal(err) != want.refusal {
		b.t.Errorf("the update ended %s (%s), refusal %v, and not %s (%s), refusal %v: %v\n%s", r.State, r.Code,
			fault.IsRefusal(err), want.state, want.code, want.refusal, err, &b.said)
	}
	for _, w := range want.words {
		if !strings.Contains(r.String(), w) {
			b.t.Errorf("%q does not say %q", r, w)
		}
	}
	after := b.running()
	for name := range maps.Keys(before) {
		if before[name] != after[name] {
			b.t.Errorf("%s is another on the host", name)
		}
	}
	if len(before) != len(after) {
		b.t.Errorf("the host had %d files and has %d", len(before), len(after))
	}
}

// running is all that is on the host outside the updater's own state: the digest of each file, where each link leads.
func (b *besieged) running() map[string]string {
	b.t.Helper()
	files := map[string]string{}
	root, err := os.OpenRoot(b.root)
	must(b.t, err)
	defer root.Close()
	must(b.t, filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(b.root, path)
		switch {
		case err != nil:
		case strings.HasPrefix("/"+name, schema.StateDir("linux")),
			"/"+name == "/run/bakehouse": // the summary of status
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type()&fs.ModeSymlink != 0:
			files[name], err = os.Readlink(path)
		case d.Type().IsRegular():
			var content []byte
			content, err = os.ReadFile(path)
			files[name] = schema.DigestOf(content).String()
		}
		return err
	}))
	if len(files) < 4 {
		b.t.Fatalf("the host has %v only", files)
	}
	return files
}

// updates is an update that must succeed, and bring the host to a release.
func (b *besieged) updates(text string) {
	b.t.Helper()
	r, err := b.agent.Update(b.t.Context(), agent.UpdateOptions{})
	if err != nil || r.State != schema.StateCurrent {
		b.t.Fatalf("update: %v (%s), %s\n%s", err, fault.HintOf(err), r, &b.said)
	}
	program, err := os.ReadFile(filepath.Join(b.root, "usr/bin/app"))
	must(b.t, err)
	if want := "#!/bin/sh\necho " + text + "\n"; string(program) != want {
		b.t.Fatalf("the host runs %q and not %q", program, want)
	}
}

// heals mends everything up to a release and shows that the host gets it.
func (b *besieged) heals(release int) {
	b.t.Helper()
	b.mends(release)
	b.updates(b.says(release))
}

// outdoes is heals after an attack that was signed: the release is published under versions above the attack's, as a
// version that a host has seen stays what it was.
func (b *besieged) outdoes(release int) {
	b.t.Helper()
	b.mends(release)
	b.usurp(func(bin, targets *metadata.TargetsType, snapshot *metadata.SnapshotType, stamp *metadata.TimestampType) {
		bin.Version, targets.Version, snapshot.Version, stamp.Version = bin.Version+10, targets.Version+10,
			snapshot.Version+10, stamp.Version+10
		snapshot.Meta[b.bin("web01")+".json"], snapshot.Meta["targets.json"] = metadata.MetaFile(bin.Version),
			metadata.MetaFile(targets.Version)
		stamp.Meta["snapshot.json"] = metadata.MetaFile(snapshot.Version)
	})
	b.untilServed(b.head())
	b.updates(b.says(release))
}

// mends ends the attack, and puts store, server and clock in order.
func (b *besieged) mends(release int) {
	b.t.Helper()
	b.bends(nil)
	b.mu.Lock()
	b.raw, b.ahead, b.clock = false, 0, time.Time{}
	b.mu.Unlock()
	must(b.t, os.RemoveAll(b.file(schema.TimestampDir)))
	must(b.t, os.RemoveAll(b.file(schema.MetadataDir)))
	b.publish(release)
	b.restart() // nothing of the attack is in its memory
}

// edit changes the host's state file.
func (b *besieged) edit(change func(state map[string]any)) {
	b.t.Helper()
	name := filepath.Join(b.root, schema.StateDir("linux"), "state.json")
	content, err := os.ReadFile(name)
	must(b.t, err)
	var state map[string]any
	must(b.t, json.Unmarshal(content, &state))
	change(state)
	content, err = json.Marshal(state)
	must(b.t, err)
	must(b.t, os.WriteFile(name, content, 0o600))
}

// slowly opens n connections to the server that begin a request and never end it, until the test does.
func (b *besieged) slowly(n int) {
	b.t.Helper()
	config := b.client.Transport.(*http.Transport).TLSClientConfig
	for range n {
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
		ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
		c, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(b.url, "https://"))
		cancel()
		must(b.t, err)
		b.t.Cleanup(func() { c.Close() })
		_, err = io.WriteString(c, "POST "+schema.PollPath+" HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		must(b.t, err)
	}
}
