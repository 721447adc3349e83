//go:build linux || windows

package wineroot

import "os"

// Output runs a program, and returns what it printed and its exit code, of which Linux has the last eight bits. What it
// starts may go on, and print: nobody waits for that.
func (h *Host) Output(program string, args ...string) (string, int) {
	h.t.Helper()
	out, err := os.CreateTemp(h.t.TempDir(), "")
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	c := h.Command(h.t.Context(), program, args...)
	c.Stdout, c.Stderr = out, out
	err = c.Run()
	if c.ProcessState == nil || !c.ProcessState.Exited() {
		h.t.Fatalf("%s %q: %v", program, args, err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b), c.ProcessState.ExitCode()
}

// Run is Output of a program that is to end with 0.
func (h *Host) Run(program string, args ...string) string {
	h.t.Helper()
	out, code := h.Output(program, args...)
	if code != 0 {
		h.t.Fatalf("%s %q: exit code %d\n%s", program, args, code, out)
	}
	return out
}
