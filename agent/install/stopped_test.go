package install

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bakehouse/schema"
)

func TestOnlyWhatSomebodyStoppedCountsAsStopped(t *testing.T) {
	t.Parallel()
	got := stoppedUnits("Id=a.service\nLoadState=loaded\nActiveState=inactive\n\n" +
		"Id=crashed.service\nLoadState=loaded\nActiveState=failed\n\n" +
		"Id=restarting.service\nLoadState=loaded\nActiveState=activating\n\n" +
		"Id=booting.service\nLoadState=loaded\nActiveState=inactive\nJob=77\n\n" +
		"Id=gone.service\nLoadState=not-found\nActiveState=inactive\n\n" +
		"Id=b.timer\nLoadState=masked\nActiveState=inactive\n\nId=c.socket\nLoadState=loaded\nActiveState=active\n")
	if want := []string{"a.service stopped", "b.timer stopped"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAStoppedServiceIsNotAskedHowItIs(t *testing.T) {
	t.Parallel()
	s := sandbox(t)
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("/usr/bin/sick", "#!/bin/sh\nexit 1\n", 0o755)
	write(schema.HealthFile, `[{"plugin":"a","command":["/usr/bin/sick"],"within":"10ms",`+
		`"units":["a.socket","a.service"]}]`, 0o644)
	ill := func(want bool) {
		t.Helper()
		if err := s.CheckHealth(t.Context()); (err != nil) != want {
			t.Errorf("%v", err)
		}
	}
	ill(true)
	write(stoppedFile, "a.service disabled\nb.service stopped\n", 0o600)
	ill(true)
	write(stoppedFile, "a.service disabled\na.service stopped\n", 0o600)
	ill(false)
	if err := s.ForgetStopped(); err != nil {
		t.Error(err)
	}
	ill(true)
}
