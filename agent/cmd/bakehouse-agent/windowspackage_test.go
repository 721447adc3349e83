//go:build linux || windows

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/reconcile/bake/msi"
	"bakehouse/reconcile/bake/msi/cab"
	"bakehouse/reconcile/bake/msi/cfb"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// windowsSpec says what a package for Windows holds.
type windowsSpec struct {
	version string
	agent   string // the host program's version
	plugin  string // its bytes
	run     string // what the plugin's service does: serve, broken
	check   string // what the plugin does as health check

	interval time.Duration // zero: an hour
}

const (
	pluginDir  = "/Program Files/Bakehouse/plugins/acme"
	pluginFile = pluginDir + "/acme.exe"

	productName = "Bakehouse of the tests"
)

// windowsPrograms builds programs for Windows, each once.
type windowsPrograms struct {
	t    *testing.T
	arch string
	dir  string
	made map[string][]byte
}

func (w *windowsPrograms) build(pkg, set string) []byte {
	w.t.Helper()
	if b, ok := w.made[pkg+set]; ok {
		return b
	}
	exe := filepath.Join(w.dir, "program.exe")
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -X "+set, "-o", exe, pkg)
	c.Env = append(os.Environ(), "GOOS=windows", "CGO_ENABLED=0", "GOARCH="+w.arch)
	needs.Go(w.t, c)
	b, err := os.ReadFile(exe)
	if err != nil {
		w.t.Fatal(err)
	}
	w.made[pkg+set] = b
	return b
}

type windowsFile struct {
	path  string
	bytes []byte
}

func cabinetOf(t *testing.T, files []windowsFile, sizes cab.Sizes) (out msi.Cabinet, b []byte) {
	t.Helper()
	var members []cab.File
	for _, f := range files {
		members = append(members, cab.File{Name: msi.Key(f.path), Write: func(w io.Writer) error {
			_, err := w.Write(f.bytes)
			return err
		}})
		out.Files = append(out.Files, msi.File{Plugin: "acme", Path: f.path, Size: int64(len(f.bytes)),
			MD5: md5.Sum(f.bytes), Private: f.path == schema.ConfigFile("windows")})
	}
	var cabinet bytes.Buffer
	if err := cab.Write(context.Background(), &cabinet, members, sizes, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	out.Size, out.Digest = int64(cabinet.Len()), schema.DigestOf(cabinet.Bytes())
	return out, cabinet.Bytes()
}

// pack makes a package for Windows as the fleet publishes it.
func (w *windowsPrograms) pack(f *testfleet.Fleet, s windowsSpec) *trusttest.Package {
	w.t.Helper()
	agent := w.build(".", "main.version="+s.agent)
	plugin := w.build("./testdata/plugin", "main.bytes="+s.plugin)
	config := f.Config(func(c *schema.AgentConfig) {
		c.Interval, c.Version = schema.Duration(cmp.Or(s.interval, time.Hour)), s.version
	})
	health, err := json.Marshal([]schema.HealthCheck{{Plugin: "acme", Command: []string{pluginFile, s.check},
		Within: schema.Duration(5 * time.Second)}})
	if err != nil {
		w.t.Fatal(err)
	}
	p := &msi.Package{Name: "bakehouse-agent", Title: productName, Maker: "acme", Version: s.version,
		Recipe: schema.RecipeID(schema.DigestOf([]byte(s.version)).Hex()[:16]), Bake: 1, Updater: true,
		Platform: schema.Platform{OS: "windows", Arch: w.arch},
		Services: []msi.Service{
			{Plugin: "acme", Name: "acme", Program: pluginFile, Arguments: s.run, Start: true, Wait: s.run == "broken"},
			{Plugin: "acme", Name: "bakehouse-agent", Program: schema.ProgramFile("windows"),
				Arguments: "run --service", Start: true, Wait: true},
		}}
	shared, sharedBytes := cabinetOf(w.t, []windowsFile{{schema.ProgramFile("windows"), agent}},
		cab.Sizes{Least: msi.SharedLeast, Step: cfb.SectorSize})
	p.Shared = []msi.Cabinet{shared}
	own, ownBytes := cabinetOf(w.t, []windowsFile{{pluginFile, plugin}, {schema.ConfigFile("windows"), config},
		{schema.AnchorFile("windows"), f.Anchor}, {schema.HealthFile("windows"), health},
		{schema.UnitsFile("windows"), []byte("acme - enable\nbakehouse-agent - enable\n")}},
		cab.Sizes{Least: msi.OwnStep, Step: msi.OwnStep})
	p.Own, p.OwnBytes = &own, ownBytes
	built, err := p.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	return f.Fleet.Pack(schema.Manifest{Version: s.version, Recipe: p.Recipe, Format: schema.Msi, Platform: p.Platform},
		trusttest.Piece{Bytes: built.Header}, trusttest.Piece{Bytes: sharedBytes, Segment: &schema.SegmentRef{}},
		trusttest.Piece{Bytes: built.Table}, trusttest.Piece{Bytes: built.Common}, trusttest.Piece{Bytes: built.Own})
}
