package main

import (
	"os"
	"os/exec"
	"testing"

	"bakehouse/schema/cli/clitest"
)

func TestCtrlCEndsEveryPrompt(t *testing.T) {
	for prompt, args := range map[string][]string{
		"Password: ":                 {"access", "add", "ops", "--permission", "register"},
		"the passphrase of key ops:": {"key", "create", "ops", "--use", "package"},
	} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			check(t, exec.Command("bakehouse", "init", dir).Run())
			cmd := exec.Command("bakehouse", args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			clitest.CtrlC(t, cmd, prompt)
		})
	}
}
