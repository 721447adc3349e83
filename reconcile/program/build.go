package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// checkout is the folder of Bakehouse's own source, or fs.ErrNotExist if none was named and none is around.
func (p Places) checkout() (string, error) {
	dir := p.Source
	if dir == "" {
		dir = "."
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		b, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && ourModule.Match(b) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	if p.Source != "" {
		return "", fault.Hint(fmt.Errorf("%s is not in a source checkout of Bakehouse: no go.mod there or above it says "+
			"\"module bakehouse\"", p.Source),
			"set the directory of the checkout with --source")
	}
	return "", fs.ErrNotExist
}

var ourModule = regexp.MustCompile(`(?m)^module[ \t]+"?bakehouse"?[ \t]*(//.*)?\r?$`)

// build cross-compiles the host program of a checkout. The same source and Go release make the same bytes on any
// machine: no paths, no build id, no commit, no cgo, the oldest instruction set, and nothing of the user's Go settings.
func (p Places) build(ctx context.Context, checkout string, platform schema.Platform, version string) ([]byte, error) {
	if err := fleet.CheckVersion(version); err != nil {
		return nil, err
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("building it from %s: %w", checkout, err),
			"install Go, or use a release of Bakehouse, which brings its host programs")
	}
	if p.Progress != nil {
		fmt.Fprintf(p.Progress(), "building bakehouse-agent %s for %s from %s\n", version, platform, checkout)
	}
	dir, err := os.MkdirTemp("", "bakehouse-build-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "bakehouse-agent")
	// HTTP/2 would be 0.4 MB of the host program, for one request at a time.
	cmd := exec.CommandContext(ctx, tool, "build", "-trimpath", "-buildvcs=false", "-tags=nethttpomithttp2",
		"-ldflags=-s -w -buildid= -X main.version="+version, "-o", out, "./agent/cmd/bakehouse-agent")
	cmd.Dir = checkout
	cmd.Env = buildEnv(os.Environ(), platform)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("building it from %s: %w", checkout, errors.Join(err, errors.New(lastLines(stderr.String()))))
	}
	b, err := readFile(out)
	return withoutSymbols(b), err
}

// buildEnv is the environment of a build. A variable that is empty falls back to what `go env -w` stored, so those that
// change the bytes get a value; where the module proxy is stays the user's choice.
func buildEnv(env []string, p schema.Platform) []string {
	set := []string{"GOOS=" + p.OS, "GOARCH=" + p.Arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOTOOLCHAIN=local",
		"GOFIPS140=off", "GO386=sse2", "GOAMD64=v1", "GOARM=7", "GOARM64=v8.0", "GOPPC64=power8", "GORISCV64=rva20u64"}
	drop := map[string]bool{"GOEXPERIMENT": true, "GODEBUG": true}
	for _, kv := range set {
		name, _, _ := strings.Cut(kv, "=")
		drop[name] = true
	}
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); !drop[name] && !strings.HasPrefix(name, "BAKEHOUSE_PASSPHRASE") {
			set = append(set, kv)
		}
	}
	return set
}

// lastLines keeps an error short.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
