package contents

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/msi"
)

// installed reads a package for Windows, whose files lie anywhere in it: it is in a file without a name meanwhile.
// Paths are as plugins write them.
func installed(r io.Reader) (files []File, err error) {
	spool, err := os.CreateTemp("", "bakehouse-msi-*")
	if err != nil {
		return nil, err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return nil, err
	}
	size, err := io.Copy(spool, r)
	if err != nil {
		return nil, err
	}
	p, err := msi.Open(spool, size)
	if err != nil {
		return nil, err
	}
	for _, name := range p.Folders {
		if files, err = add(files, File{Path: windowsPath(name), Mode: fs.ModeDir | 0o755}, nil); err != nil {
			return nil, err
		}
	}
	err = p.Extract(func(f msi.File, content io.Reader) (err error) {
		mode := fs.FileMode(0o644)
		if f.Private {
			mode = 0o600
		}
		files, err = add(files, File{Path: windowsPath(f.Path), Mode: mode, Size: f.Size}, content)
		return err
	})
	if err == nil && len(p.Minor) > 0 {
		err = fmt.Errorf("it is not as it is specified: %s", strings.Join(p.Minor, "; "))
	}
	return files, err
}

// windowsPath has the folders' names of plugins in the place of Windows Installer's.
func windowsPath(name string) string {
	folder, rest, _ := strings.Cut(name, "/")
	for property, is := range map[string]string{"ProgramFiles64Folder": schema.WindowsPrograms,
		"ProgramFilesFolder": schema.WindowsPrograms, "CommonAppDataFolder": schema.WindowsData} {
		if folder == property {
			return is + "/" + rest
		}
	}
	return "/" + name
}
