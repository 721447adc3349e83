package msi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/install/machine"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// fake is a Windows of which a test says what its installer does.
type fake struct {
	installed schema.RecipeID // "" if nothing is
	renames   []string
	running   []string // services that run
	units     []string // services of what is installed
	calls     []string
	msiexec   func(f *fake, ctx context.Context) (uint32, string, error)
	attempts  int
	pauses    []time.Duration
	stubborn  string // a service that does not stop
	broken    error  // what asking for products ends with
}

func product(r schema.RecipeID) string { return "{" + string(r) + "}" }

func (f *fake) Codes(file string) (Codes, error) {
	recipe, ok := strings.CutPrefix(file, "file of ")
	if !ok {
		return Codes{}, errors.New("it is no package")
	}
	return Codes{product(schema.RecipeID(recipe)), "{upgrade}"}, nil
}

func (f *fake) Products(string) ([]string, error) {
	if f.installed == "" {
		return nil, f.broken
	}
	return []string{product(f.installed)}, f.broken
}

func (f *fake) Recorded() (schema.RecipeID, string, error) {
	if f.installed == "" {
		return "", "", nil
	}
	return f.installed, "1+" + string(f.installed), nil
}

func (f *fake) Renames() ([]string, error) { return f.renames, nil }

func (f *fake) Services() ([]string, error) { return f.units, nil }

func (f *fake) Stop(_ context.Context, s string) error {
	if s == f.stubborn {
		return errors.New("it hangs")
	}
	f.calls = append(f.calls, "stop "+s)
	f.running = slices.DeleteFunc(f.running, func(r string) bool { return r == s })
	return nil
}

func (f *fake) Start(_ context.Context, s string) error {
	f.calls = append(f.calls, "start "+s)
	if !slices.Contains(f.running, s) {
		f.running = append(f.running, s)
	}
	return nil
}

func (f *fake) Free() ([]string, error) {
	f.calls = append(f.calls, "free")
	return nil, nil
}

func (f *fake) Msiexec(ctx context.Context, args ...string) (uint32, []byte, error) {
	f.calls = append(f.calls, "msiexec")
	if want := []string{"/i", "file of new", "/qn", "/norestart"}; !slices.Equal(args, want) {
		return commandLine, nil, nil
	}
	f.attempts++
	code, log, err := f.msiexec(f, ctx)
	return code, []byte(log), err
}

// puts is an installer that does its work and ends with code.
func puts(code uint32, log string) func(*fake, context.Context) (uint32, string, error) {
	return func(f *fake, _ context.Context) (uint32, string, error) {
		f.installed = "new"
		return code, log, nil
	}
}

// leaves is one that changes nothing.
func leaves(code uint32, log string) func(*fake, context.Context) (uint32, string, error) {
	return func(*fake, context.Context) (uint32, string, error) { return code, log, nil }
}

// removes is Wine's, which does not put back what it removed.
func removes(code uint32, log string) func(*fake, context.Context) (uint32, string, error) {
	return func(f *fake, _ context.Context) (uint32, string, error) {
		f.installed, f.units, f.running = "", nil, nil
		return code, log, nil
	}
}

const folder = `C:\Program Files\Bakehouse`

// install installs the package "new" over "old".
func install(f *fake) error {
	f.installed, f.units, f.running = "old", []string{"exporter", "bakehouse-agent"}, []string{"exporter",
		"bakehouse-agent"}
	i := &Installer{Windows: f, Folders: []string{folder}, Log: slog.New(slog.DiscardHandler), Limit: time.Minute,
		Pause: func(_ context.Context, d time.Duration) error {
			f.pauses = append(f.pauses, d)
			return nil
		}}
	return i.Install(context.Background(), machine.Package{File: "file of new", Name: "p", Version: "1+new",
		Recipe: "new"})
}

func TestEachEndingOfTheInstallerHasItsOwnEnd(t *testing.T) {
	t.Parallel()
	const serviceLog = "Error 1920. Service 'exporter' failed to start.\n" +
		"Action ended 10:00:00: InstallFinalize. Return value 3.\n"
	for name, c := range map[string]struct {
		msiexec          func(*fake, context.Context) (uint32, string, error)
		ok               bool
		touched, release bool
		says             string
		attempts         int
	}{
		"done":                        {puts(0, ""), true, false, false, "", 1},
		"done, a boot is due":         {puts(3010, ""), true, false, false, "", 1},
		"done, a boot has begun":      {puts(1641, ""), true, false, false, "", 1},
		"says done and has done none": {leaves(0, ""), false, true, false, "ended with 0, but installed are", 1},
		"busy all the time":           {leaves(1618, ""), false, false, false, "another installation is under way", 4},
		"no service":                  {leaves(1601, ""), false, false, false, "cannot be reached", 4},
		"no service, in a failure":    {leaves(1603, "Error 1719. The service\n"), false, false, false, "1719", 4},
		"failed and taken back":       {leaves(1603, ""), false, true, false, "1603: it failed", 1},
		"failed and nothing is left":  {removes(1627, ""), false, true, false, "1627: it failed", 1},
		"a service does not start":    {removes(1603, serviceLog), false, true, true, "InstallFinalize, error 1920", 1},
		"the old package is lost":     {leaves(1612, ""), false, true, false, "lost its copy", 1},
		"same code, other bytes":      {leaves(1638, ""), false, true, false, "same product code", 1},
		"forbidden":                   {leaves(1625, ""), false, false, false, "a policy of this host", 1},
		"cancelled":                   {leaves(1602, ""), false, false, false, "cancelled", 1},
		"no package":                  {leaves(1620, ""), false, false, true, "no valid package", 1},
		"another processor's":         {leaves(1633, ""), false, false, true, "another processor", 1},
		"unknown":                     {leaves(1699, ""), false, true, false, "ended with 1699", 1},
		"untouched, it says":          {removes(1602, ""), false, true, false, "cancelled", 1},
		"failed, but it is there":     {puts(1603, ""), false, true, false, "1603", 1},
		"hangs": {func(f *fake, ctx context.Context) (uint32, string, error) {
			return 0, "", errHung
		}, false, true, false, "stopped after 1m0s", 1},
		"cannot be run": {func(*fake, context.Context) (uint32, string, error) {
			return 0, "", errors.New("access is denied")
		}, false, false, false, "access is denied", 1},
	} {
		f := &fake{msiexec: c.msiexec}
		err := install(f)
		said := fmt.Sprint(err)
		if (err == nil) != c.ok || !c.ok && !strings.Contains(said, c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if machine.Touched(err) != c.touched || machine.OfRelease(err) != c.release {
			t.Errorf("%s: touched %t, of the release %t: %v", name, machine.Touched(err), machine.OfRelease(err), err)
		}
		if f.attempts != c.attempts {
			t.Errorf("%s: %d attempts", name, f.attempts)
		}
		for _, s := range f.units {
			if !slices.Contains(f.running, s) {
				t.Errorf("%s: the service %s does not run afterwards", name, s)
			}
		}
	}
}

func TestABusyInstallerIsAskedAgainAndThenDoesIt(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.msiexec = func(f *fake, ctx context.Context) (uint32, string, error) {
		if f.attempts < 3 {
			return running, "", nil
		}
		return puts(0, "")(f, ctx)
	}
	if err := install(f); err != nil || !slices.Equal(f.pauses, pauses[:2]) {
		t.Errorf("%v, after pauses of %v", err, f.pauses)
	}
}

func TestNothingOfThePackageRunsWhileItIsReplaced(t *testing.T) {
	t.Parallel()
	f := &fake{msiexec: func(f *fake, ctx context.Context) (uint32, string, error) {
		if len(f.running) > 0 {
			return failure, "", nil
		}
		return puts(0, "")(f, ctx)
	}}
	if err := install(f); err != nil {
		t.Error(err)
	}
	want := []string{"stop exporter", "stop bakehouse-agent", "free", "msiexec", "start exporter",
		"start bakehouse-agent"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("%q", f.calls)
	}
}

func TestAServiceThatDoesNotStopLeavesTheHostAsItWas(t *testing.T) {
	t.Parallel()
	f := &fake{msiexec: puts(0, ""), stubborn: "bakehouse-agent"}
	err := install(f)
	if err == nil || machine.Touched(err) || f.attempts > 0 || len(f.running) != 2 {
		t.Errorf("%v, touched %t, %d attempts, running %q", err, machine.Touched(err), f.attempts, f.running)
	}
}

func TestAServiceThatAnAdministratorStoppedStaysSo(t *testing.T) {
	t.Parallel()
	f := &fake{installed: "old", units: []string{"exporter"}, msiexec: puts(0, "")}
	i := &Installer{Windows: f, Log: slog.New(slog.DiscardHandler), Limit: time.Minute, Pause: pauseNot,
		Stopped: map[string][]string{"exporter": {"stopped"}}}
	p := machine.Package{File: "file of new", Version: "1+new", Recipe: "new"}
	if err := i.Install(context.Background(), p); err != nil || len(f.running) > 0 {
		t.Errorf("%v, running %q", err, f.running)
	}
}

func TestAnInstallerThatDoesNotEndIsStoppedAndNothingIsSureAfterwards(t *testing.T) {
	t.Parallel()
	f := &fake{installed: "old", msiexec: func(_ *fake, ctx context.Context) (uint32, string, error) {
		<-ctx.Done()
		return 1, "", nil
	}}
	i := &Installer{Windows: f, Log: slog.New(slog.DiscardHandler), Limit: time.Millisecond, Pause: pauseNot}
	err := i.Install(context.Background(), machine.Package{File: "file of new", Version: "1+new", Recipe: "new"})
	if !machine.Touched(err) || machine.OfRelease(err) || !strings.Contains(err.Error(), "stopped after 1ms") {
		t.Error(err)
	}
}

func pauseNot(context.Context, time.Duration) error { return nil }

func TestOnlyOurOwnFilesHoldAnInstallationBack(t *testing.T) {
	t.Parallel()
	for rename, held := range map[string]bool{
		`\??\C:\Program Files\Bakehouse\plugins\msi6a80.tmp`:   true,
		`!\??\C:\program files\BAKEHOUSE\plugins\x.exe`:        true,
		`*1\??\C:\Program Files\Bakehouse\bakehouse-agent.exe`: true,
		`\??\C:\Program Files\Microsoft\EdgeUpdate\old.exe`:    false,
		`\??\C:\Program Files\Bakehouse Pro\x.exe`:             false,
		`\??\C:\Program Files\Bakehouse`:                       false,
		``:                                                     false,
	} {
		f := &fake{msiexec: puts(0, ""), renames: []string{rename}}
		err := install(f)
		if (err != nil) != held || held && (f.attempts > 0 || machine.Touched(err) ||
			!strings.Contains(fault.HintOf(err), "restart Windows")) {
			t.Errorf("%q: %v", rename, err)
		}
	}
}

func TestAFileThatIsNoPackageIsTheReleasesFault(t *testing.T) {
	t.Parallel()
	f := &fake{msiexec: puts(0, "")}
	i := &Installer{Windows: f, Log: slog.New(slog.DiscardHandler), Limit: time.Minute}
	err := i.Install(context.Background(), machine.Package{File: "a picture"})
	if !machine.OfRelease(err) || machine.Touched(err) || f.attempts > 0 {
		t.Error(err)
	}
}

func TestLogsAreReadInEachLanguage(t *testing.T) {
	t.Parallel()
	for log, want := range map[string][2]string{
		"": {"", ""},
		"Action ended 10:00:00: InstallFinalize. Return value 1.\n":                            {"", ""},
		"Action ended 10:00:00: InstallFiles. Return value 3.\r\n":                             {"", "InstallFiles"},
		"Aktion beendet um 10:00:00: StartServices. Rückgabewert 3.\n":                         {"", "StartServices"},
		"Action terminée à 10:00:00 : x\nMSI (s): Produkt: X -- Fehler 1920. Der Dienst\n":     {"1920", ""},
		"Error 1719. Windows Installer\nError 1920. Service\n":                                 {"1920", ""},
		"Error 2711.The specified Feature name\nAction ended 1:00: A1. Return value 3.\n":      {"2711", "A1"},
		"Action ended 1:0: First. Return value 3.\nAction ended 1:0: INSTALL. Return value 3.": {"", "First"},
	} {
		number, action := failedAt([]byte(log))
		if number != want[0] || action != want[1] {
			t.Errorf("%q: %q, %q", log, number, action)
		}
	}
	if got := string(text([]byte("\xff\xfeE\x00\xe4\x00\r\x00\n\x00"))); got != "Eä\n" {
		t.Errorf("UTF-16: %q", got)
	}
}

func FuzzWhatALogSaysIsFoundWithoutTrouble(f *testing.F) {
	f.Add([]byte("Action ended 1:00: A1. Return value 3.\n"))
	f.Add([]byte("\xff\xfeE\x00"))
	f.Fuzz(func(t *testing.T, log []byte) {
		number, action := failedAt(text(log))
		if len(number) != 0 && len(number) != 4 || strings.ContainsAny(action, " \n") {
			t.Errorf("%q, %q", number, action)
		}
	})
}
