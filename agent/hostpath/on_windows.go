package hostpath

import (
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/windows"

	"bakehouse/schema"
)

// folders are those that the system has elsewhere than below its drive, for all that anybody knows.
var folders = sync.OnceValue(func() map[string]string {
	known := map[string]string{}
	for name, id := range map[string]*windows.KNOWNFOLDERID{
		schema.WindowsPrograms: windows.FOLDERID_ProgramFiles,
		schema.WindowsData:     windows.FOLDERID_ProgramData,
	} {
		if dir, err := windows.KnownFolderPath(id, windows.KF_FLAG_DEFAULT); err == nil {
			known[name] = dir
		}
	}
	return known
})

// On is where p, an absolute path as packages have them, is: below root, if that is not empty.
func On(root, p string) string {
	if filepath.VolumeName(p) != "" {
		return filepath.Clean(p) // a path as this system has it, such as of a program of its own
	}
	if root != "" {
		return filepath.Join(root, filepath.FromSlash(p))
	}
	for name, dir := range folders() {
		if rest, ok := strings.CutPrefix(p, name); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(dir, filepath.FromSlash(rest))
		}
	}
	return filepath.Join(Drive(), filepath.FromSlash(p))
}

// Drive is the root of the drive that Windows is on: C:\.
func Drive() string {
	if dir, err := windows.GetSystemWindowsDirectory(); err == nil {
		return filepath.VolumeName(dir) + `\`
	}
	return `C:\`
}

// System is a program of Windows itself, which is nowhere else than in its own directory.
func System(program string) string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		dir = `C:\Windows\System32`
	}
	return filepath.Join(dir, program)
}
