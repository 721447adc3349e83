package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"bakehouse/agent/owned"
)

// What only Windows itself shows: Wine has neither its access control nor its log, nor a lock of its installer.
func TestOnWindowsItselfAccessLogLockAndRebootsAreAsTheyShouldBe(t *testing.T) {
	h := newWindowsHost(t, "amd64")
	h.register(h.give(spec(1)))
	h.update("updated: web01 runs release 1")
	h.is("1")
	for _, dir := range []string{windowsState, `C:\ProgramData\Bakehouse`, `C:\Program Files\Bakehouse`} {
		if err := owned.Check(dir); err != nil {
			t.Error(err)
		}
	}
	for _, file := range []string{windowsState, windowsState + `\state.json`, windowsState + `\registration.json`} {
		list := h.Run("icacls", file)
		if strings.Contains(list, `BUILTIN\Users`) || strings.Contains(list, "Everyone") {
			t.Errorf("others than administrators may open %s:\n%s", file, list)
		}
	}

	// The installer's lock is held: the host waits, and nothing is held against the release.
	lock, err := windows.CreateMutex(nil, true, windows.StringToUTF16Ptr(`Global\_MSIExecute`))
	if err != nil {
		t.Fatal(err)
	}
	h.give(spec(2))
	h.update("another installation is under way")
	h.is("1")
	if err := windows.CloseHandle(lock); err != nil {
		t.Fatal(err)
	}
	h.update("updated: web01 runs release 2")
	h.is("2")

	// Files of ours that the next boot replaces hold an installation back, those of others do not.
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\Session Manager`,
		registry.QUERY_VALUE|registry.SET_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	const renames = "PendingFileRenameOperations"
	before, _, err := key.GetStringsValue(renames)
	had := err == nil
	defer func() {
		if had {
			err = key.SetStringsValue(renames, before)
		} else {
			err = key.DeleteValue(renames)
		}
		if err != nil {
			t.Error(err)
		}
	}()
	pending := func(file string) {
		if err := key.SetStringsValue(renames, append(before[:len(before):len(before)], `\??\`+file, "-")); err != nil {
			t.Fatal(err)
		}
	}
	h.give(spec(3))
	pending(`C:\Program Files\Bakehouse\plugins\msi1.tmp`)
	h.update("restart Windows")
	h.is("2")
	pending(`C:\Program Files\Microsoft\EdgeUpdate\old.exe`)
	h.update("updated: web01 runs release 3")
	h.is("3")

	sick := spec(4)
	sick.check = "sick"
	h.give(sick)
	h.update("failed: web01 runs release 3")
	events := h.Run("powershell", "-NoProfile", "-Command",
		"Get-WinEvent -ProviderName Bakehouse -MaxEvents 20 | Format-List Message")
	if !strings.Contains(events, "health check of acme") {
		t.Errorf("the event log has nothing of the failed update:\n%s", events)
	}
	h.uninstall()
	if _, err := os.Stat(windowsState + `\state.json`); err != nil {
		t.Error(err)
	}
}
