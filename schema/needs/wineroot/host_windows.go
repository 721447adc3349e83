package wineroot

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/windows"

	"bakehouse/schema/needs"
)

// Host is this Windows, which is changed: such as a machine of a CI service, which is thrown away afterwards.
type Host struct{ t testing.TB }

// Real is that this is Windows itself.
const Real = true

// Boot takes this machine, if nothing of ours is on it and we may install.
func Boot(t testing.TB) *Host {
	t.Helper()
	needs.All(t, "installs on this machine")
	if !windows.GetCurrentProcessToken().IsElevated() {
		needs.Missing(t, "installing takes an administrator")
	}
	if _, err := os.Stat(`C:\ProgramData\Bakehouse`); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf(`this machine is a host itself, or was one: C:\ProgramData\Bakehouse is here (%v)`, err)
	}
	h := &Host{t}
	t.Cleanup(func() {
		for _, dir := range []string{`C:\ProgramData\Bakehouse`, `C:\Program Files\Bakehouse`,
			`C:\Program Files (x86)\Bakehouse`} {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return h
}

// Command prepares a program of the host. It ends with ctx.
func (h *Host) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, program, args...)
}

// Put copies a file to a path.
func (h *Host) Put(from, path string) {
	h.t.Helper()
	f, err := os.Open(from)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	w, err := os.Create(path)
	if err == nil {
		_, err = io.Copy(w, f)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// Path is where this machine sees a file of the host.
func (h *Host) Path(path string) string { return path }

// Kill ends processes that run a program, without a word to them; it reports whether there was one.
func (h *Host) Kill(program string) bool {
	return exec.CommandContext(h.t.Context(), "taskkill", "/f", "/im", program).Run() == nil
}
