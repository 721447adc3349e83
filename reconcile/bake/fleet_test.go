package bake_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// nodeExporter is what examples/node-exporter bakes.
const nodeExporter = "github.com/prometheus/node_exporter@v1.12.1"

// hostProgram builds the real one.
func hostProgram(t testing.TB) []byte {
	t.Helper()
	to := filepath.Join(t.TempDir(), "agent")
	return built(t, "../..", to, "build", "-trimpath", "-buildvcs=false", "-tags=nethttpomithttp2", "-ldflags=-s -w -buildid=",
		"-o", to, "./agent/cmd/bakehouse-agent")
}

// programs builds the real node_exporter and the real host program.
func programs(t testing.TB) (exporter, agent []byte) {
	t.Helper()
	needs.All(t, "downloads and builds node_exporter")
	dir := t.TempDir()
	t.Setenv("GOBIN", dir)
	return built(t, dir, filepath.Join(dir, "node_exporter"), "install", "-trimpath", "-ldflags=-s -w", nodeExporter), hostProgram(t)
}

func built(t testing.TB, from, to string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, "go"), args...)
	cmd.Dir = from
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		needs.Missing(t, "%v: %v\n%s", args, err, out)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyPEM is a public key, always the same for a seed; as little compressible as any.
func keyPEM(seed byte) (public ed25519.PublicKey, text string) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	public = private.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	return public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// realRoot looks like the root that `root init` makes: five keys, four roles, three signatures.
func realRoot() []byte {
	keys, roles := map[string]any{}, map[string]any{}
	var signatures []any
	for i, role := range []string{"root", "targets", "snapshot", "timestamp", "root"} {
		public, _ := keyPEM(byte(i))
		id := schema.DigestOf(public).Hex()
		keys[id] = map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]string{"public": hex.EncodeToString(public)}}
		roles[role] = map[string]any{"keyids": []string{id}, "threshold": 1}
		if i < 3 {
			signatures = append(signatures, map[string]string{"keyid": id, "sig": hex.EncodeToString(append(noise(uint64(i), 32), public...))})
		}
	}
	b, err := json.MarshalIndent(map[string]any{"signatures": signatures, "signed": map[string]any{"_type": "root", "consistent_snapshot": true,
		"expires": "2027-01-01T00:00:00Z", "keys": keys, "roles": roles, "spec_version": "1.0.31", "version": 1}}, "", " ")
	if err != nil {
		panic(err)
	}
	return b
}

// realFleet is n recipes of two plugins, as the shipped plugins make them: what differs is the exporter's command line, the
// updater's settings are the fleet's. Of each plugin's files `extra` more are its own, with content as settings have it.
func realFleet(exporter, agent []byte, n, extra int) ([]*rules.Recipe, repo, schema.Digest) {
	src := repo{}
	root := realRoot()
	_, key := keyPEM(100)
	config, err := json.MarshalIndent(schema.AgentConfig{Schema: schema.AgentConfigSchema, Fleet: "example", Package: "bakehouse-agent", Version: "0.1.0",
		Server: "https://bakehouse.example:8443", Interval: schema.Duration(3600e9), Proxy: schema.Proxy{Mode: "none"},
		Keys: []schema.AcceptedKey{{Name: "ci", Public: key}}, Threshold: 1}, "", "\t")
	if err != nil {
		panic(err)
	}
	program, updater := src.file("/usr/bin/node_exporter", 0o755, exporter), src.program("/usr/bin/bakehouse-agent", agent)
	rs := make([]*rules.Recipe, n)
	for i := range rs {
		id := schema.RecipeID(schema.DigestOf(fmt.Append(nil, "recipe ", i)).Short())
		options := fmt.Sprintf("ARGS=\"--web.listen-address=:%d --collector.disable-defaults --collector.cpu --collector.meminfo\"\n", 1024+i)
		files := []fleet.File{own("/etc/default/node_exporter", 0o644, options), program}
		for k := range extra {
			files = append(files, own(fmt.Sprintf("/etc/node_exporter/%02d-%s.conf", k, []string{"disk", "net", "mail", "db"}[k%4]), 0o644,
				fmt.Sprintf("# Thresholds of this check.\n[check]\nenabled = true\nwarn = %d\ncrit = %d\n", 50+k+i%40, 90+k)))
		}
		rs[i] = &rules.Recipe{ID: id, Platform: linux, Outputs: []*fleet.Output{
			{Plugin: "node_exporter", Files: files,
				Services: []fleet.Service{{Name: "node_exporter", Description: "Prometheus exporter for machine metrics", Exec: "/usr/bin/node_exporter $ARGS",
					EnvironmentFile: "/etc/default/node_exporter", User: "nobody", Restart: "always", Enable: true}},
				Health: &schema.HealthCheck{Command: []string{"/usr/bin/node_exporter", "--version"}, Within: 30e9}},
			{Plugin: "updater", Files: []fleet.File{
				own(schema.ConfigFile("linux"), 0o644, string(config)+"\n"),
				own(schema.AnchorFile("linux"), 0o644, string(root)), updater},
				Services: []fleet.Service{{Name: "bakehouse-agent", Description: "Bakehouse updater", Exec: "/usr/bin/bakehouse-agent run", Restart: "always", Enable: true}}},
		}}
	}
	return rs, src, schema.DigestOf(root)
}

// bakeReal is a package of realFleet, assembled.
func bakeReal(t testing.TB, st bake.Store, src bake.Sources, r *rules.Recipe, format schema.Format, root schema.Digest) []byte {
	t.Helper()
	b := bake.New(st, src)
	defer b.Close()
	out, err := b.Bake(t.Context(), r, format, root)
	if err != nil {
		t.Fatal(err)
	}
	return assembled(t, st, out)
}
