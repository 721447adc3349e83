package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// Killed in the middle, the installer or the host program leaves the old product, the new one or none (Wine takes
// nothing back); the next update puts it right.
func TestAWindowsHostWhoseInstallationIsKilledConverges(t *testing.T) {
	h := newWindowsHost(t, "amd64")
	h.register(h.give(spec(1)))
	h.update("updated: web01 runs release 1")
	left := map[string]int{}
	release := 1
	for _, victim := range []string{"msiexec.exe", "bakehouse-agent.exe"} {
		for _, action := range []string{"InstallValidate", "RemoveFiles", "InstallFiles", "InstallServices"} {
			before := h.recorded()
			release++
			h.give(spec(release))
			if !h.updateKilled(victim, action) {
				t.Errorf("%s ended before %s", victim, action)
			}
			switch now := h.recorded(); now {
			case "":
				left["nothing"]++
			case before:
				left["the old package"]++
			default:
				left["the new package"]++
			}
			h.update("web01 runs release", "--retry")
			h.is(spec(release).version)
		}
	}
	t.Logf("what the kills left: %v", left)
}

// updateKilled begins an update, and kills a program once the installer begins an action.
func (h *windowsHost) updateKilled(victim, action string) (hit bool) {
	h.t.Helper()
	log := h.Path(windowsState + `\msi.log`)
	if err := os.Remove(log); err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	c := h.Command(h.t.Context(), h.program, "update")
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // killed, or not
		close(ended)
	}()
	word := []byte("Action start")
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !hit {
		select {
		case <-ended:
			return false
		case <-look.C:
			b, err := os.ReadFile(log)
			b = bytes.ReplaceAll(b, []byte{0}, nil)
			for line := range bytes.Lines(b) {
				if err == nil && bytes.Contains(line, word) && bytes.Contains(line, []byte(": "+action+".")) {
					hit = h.Kill(victim)
					break
				}
			}
		}
	}
	if victim != "msiexec.exe" {
		h.until("the end of the installer", func() bool { return !h.Runs("msiexec.exe") })
	}
	<-ended
	return hit
}
