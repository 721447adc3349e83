package units

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"bakehouse/agent/install/machine"
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

func TestWhatIsKeptAsStoppedIsReadBack(t *testing.T) {
	t.Parallel()
	s := &machine.System{Root: t.TempDir()}
	file := s.Path(stoppedFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	lines := "a.service disabled\nb.service stopped\na.service stopped\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"a.service": {"disabled", "stopped"}, "b.service": {"stopped"}}
	if got := Stopped(s); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := Forget(s); err != nil || Stopped(s) != nil {
		t.Errorf("%v, %v", err, Stopped(s))
	}
}
