//go:build linux

package wineroot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/needs"
)

const program = `package main

import (
	"crypto/rand"
	"fmt"
	"runtime"
)

func main() { fmt.Println(runtime.GOARCH, len(rand.Text())) }
`

func TestProgramsOfBothArchitecturesRun(t *testing.T) {
	began := time.Now()
	h := Boot(t)
	t.Log("booted", time.Since(began))
	for _, arch := range []string{"amd64", "386"} {
		dir := t.TempDir()
		source := filepath.Join(dir, "main.go")
		if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		exe := filepath.Join(dir, "try.exe")
		c := exec.Command("go", "build", "-o", exe, source)
		c.Env = append(os.Environ(), "GOOS=windows", "CGO_ENABLED=0", "GOARCH="+arch)
		needs.Go(t, c)
		h.Put(exe, `C:\try\`+arch+".exe")
		began := time.Now()
		if out := h.Run(`C:\try\` + arch + ".exe"); strings.TrimSpace(out) != arch+" 26" {
			t.Errorf("%s: %q", arch, out)
		}
		t.Log(arch, time.Since(began))
	}
}
