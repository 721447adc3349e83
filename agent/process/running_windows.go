package process

import (
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// born is when a process was started; the beginning of time if it cannot be asked.
func born(pid uint32) time.Time {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return time.Time{}
	}
	defer windows.CloseHandle(h)
	var start, exit, kernel, user windows.Filetime
	if windows.GetProcessTimes(h, &start, &exit, &kernel, &user) != nil {
		return time.Time{}
	}
	return time.Unix(0, start.Nanoseconds())
}

// EndBelow ends the processes whose program is a file below a directory, other than this one, and returns the files'
// names: a program that runs cannot be replaced.
func EndBelow(dir string, except func(file string) bool) (ended []string) {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil
	}
	defer windows.CloseHandle(snapshot)
	entry := windows.ProcessEntry32{}
	entry.Size = uint32(unsafe.Sizeof(entry))
	for err = windows.Process32First(snapshot, &entry); err == nil; err = windows.Process32Next(snapshot, &entry) {
		if entry.ProcessID == windows.GetCurrentProcessId() {
			continue
		}
		if file := program(entry.ProcessID); below(dir, file) && !except(file) {
			if stop(entry.ProcessID) {
				ended = append(ended, file)
			}
		}
	}
	return ended
}

func below(dir, file string) bool {
	dir = filepath.Clean(dir) + `\`
	return len(file) > len(dir) && strings.EqualFold(file[:len(dir)], dir)
}

// program is the file that a process runs; empty if it cannot be asked.
func program(pid uint32) string {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(h)
	name := make([]uint16, windows.MAX_LONG_PATH)
	n := uint32(len(name))
	if windows.QueryFullProcessImageName(h, 0, &name[0], &n) != nil {
		return ""
	}
	return windows.UTF16ToString(name[:n])
}

// stop ends a process and waits until its file is free.
func stop(pid uint32) bool {
	h, err := windows.OpenProcess(windows.PROCESS_TERMINATE|windows.SYNCHRONIZE, false, pid)
	if err != nil {
		return false
	}
	defer windows.CloseHandle(h)
	if windows.TerminateProcess(h, 1) != nil {
		return false
	}
	_, _ = windows.WaitForSingleObject(h, 10_000)
	return true
}
