package state

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func TestWhatIsSavedIsLoadedAgain(t *testing.T) {
	f := Files{Root: t.TempDir(), Now: time.Now}
	if h, err := f.Load(); err != nil || h.Registration != nil || h.Config != nil {
		t.Fatalf("a host without files: %+v, %v", h, err)
	}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	h := f.Fresh()
	h.Registration = &Registration{Server: "https://bakehouse.example", Host: "web01", Secret: "s3cret"}
	h.MarkFailed(7, "why")
	h.MarkFailed(7, "why")
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := f.Load()
	if err != nil || again.Registration.Host != "web01" || len(again.Failed) != 1 {
		t.Errorf("%+v, %v", again, err)
	}
	if fi, err := os.Stat(f.Stored(RecordFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, %v: it has the secret", fi.Mode().Perm(), err)
	}
}

func TestADamagedRecordIsAnErrorThatFreshGetsOutOf(t *testing.T) {
	f := Files{Root: t.TempDir(), Now: time.Now}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut short": `{"schema":1,"registr`, "of the future": `{"schema":2}`,
		"registered at no URL":  `{"schema":1,"registration":{"server":"ftp://x","host":"web01"}}`,
		"registered as no host": `{"schema":1,"registration":{"server":"https://x","host":"../web01"}}`,
	} {
		if err := os.WriteFile(f.Stored(RecordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(); err == nil || !strings.Contains(fault.HintOf(err), "register --force") {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
		if err := f.Fresh().Save(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(); err != nil {
			t.Errorf("%s, and replaced: %v", name, err)
		}
	}
}

func TestAStateDirectoryThatOthersMayWriteToIsRefused(t *testing.T) {
	f := Files{Root: t.TempDir(), Now: time.Now}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.Path(schema.StateDir(runtime.GOOS)), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := f.Load()
	for name, err := range map[string]error{"Create": f.Create(), "Load": err} {
		if !fault.IsRefusal(err) || !strings.Contains(fault.HintOf(err), "chmod 0700 "+f.Stored()) {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}
