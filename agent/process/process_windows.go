package process

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"bakehouse/agent/hostpath"
	"bakehouse/schema"
)

// Path is where programs are looked up, as in an environment: where Windows has its own.
var Path = "PATH=" + strings.Join([]string{hostpath.System(""), filepath.Dir(hostpath.System("")),
	hostpath.System("Wbem"), hostpath.System(`WindowsPowerShell\v1.0`)}, ";")

// environment is what programs of Windows do not do without.
func environment() []string {
	drive, system := hostpath.Drive(), filepath.Dir(hostpath.System(""))
	return []string{Path, "PATHEXT=.COM;.EXE;.BAT;.CMD", "SystemDrive=" + drive[:2], "SystemRoot=" + system,
		"windir=" + system, "ComSpec=" + hostpath.System("cmd.exe"), "OS=Windows_NT",
		"TEMP=" + filepath.Join(system, "Temp"), "TMP=" + filepath.Join(system, "Temp"),
		"ProgramData=" + hostpath.On("", schema.WindowsData), "ProgramFiles=" + hostpath.On("", schema.WindowsPrograms)}
}

// ownGroup starts c in a group of its own, which a Ctrl-C on the console does not reach, and ends it with the processes
// that it started when c's context ends.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP, HideWindow: true}
	c.Cancel = func() error {
		for _, pid := range descendants(uint32(c.Process.Pid)) {
			end(pid)
		}
		return c.Process.Kill()
	}
}

// descendants are the processes that a process started, and those that these did.
func descendants(of uint32) (found []uint32) {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil
	}
	defer windows.CloseHandle(snapshot)
	parents := map[uint32]uint32{}
	entry := windows.ProcessEntry32{}
	entry.Size = uint32(unsafe.Sizeof(entry))
	for err = windows.Process32First(snapshot, &entry); err == nil; err = windows.Process32Next(snapshot, &entry) {
		parents[entry.ProcessID] = entry.ParentProcessID
	}
	// A number is used again after a process has ended: only who is younger than its parent is its child.
	family := []uint32{of}
	for i := 0; i < len(family); i++ {
		for pid, parent := range parents {
			if parent == family[i] && !slices.Contains(family, pid) && !born(pid).Before(born(parent)) {
				family = append(family, pid)
			}
		}
	}
	return family[1:]
}

func end(pid uint32) {
	if h, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, pid); err == nil {
		_ = windows.TerminateProcess(h, 1)
		windows.CloseHandle(h)
	}
}

func setUser(*exec.Cmd, string, string, []string) error {
	return errors.New("programs run as another user on Unix only")
}
