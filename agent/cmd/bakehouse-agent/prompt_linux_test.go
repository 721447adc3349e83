package main

import (
	"os/exec"
	"testing"

	"bakehouse/schema/cli/clitest"
)

func TestCtrlCEndsThePrompts(t *testing.T) {
	for prompt, args := range map[string][]string{
		"server URL":       nil,
		"password of ops:": {"--server", "https://bakehouse.example", "--host", "web01", "--user", "ops"},
	} {
		t.Run(prompt, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--root", t.TempDir(), "register"}, args...)
			clitest.CtrlC(t, exec.Command("bakehouse-agent", args...), prompt)
		})
	}
}
