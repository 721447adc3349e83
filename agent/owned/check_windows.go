package owned

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"

	"bakehouse/agent/hostpath"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Check refuses a directory that somebody else than administrators, the system or the user that runs this owns or can
// write to, or that a link leads to. Below the system's folders that is asked of each directory on the way: every user
// may create one in ProgramData. An absent one is fs.ErrNotExist.
func Check(dir string) error {
	for _, folder := range []string{schema.WindowsData, schema.WindowsPrograms} {
		above := hostpath.On("", folder)
		rest, err := filepath.Rel(above, dir)
		if err != nil || !filepath.IsLocal(rest) || rest == "." {
			continue
		}
		for name := range strings.SplitSeq(rest, `\`) {
			above = filepath.Join(above, name)
			if err := check(above); err != nil {
				return err
			}
		}
		return nil
	}
	return check(dir)
}

func check(dir string) error {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(name, windows.READ_CONTROL|windows.FILE_READ_ATTRIBUTES,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING,
		windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer windows.CloseHandle(h)
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return fault.Refuse(fmt.Errorf("%s leads elsewhere: it is a link or mount point", dir),
			"find out who made it, and remove it")
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0 {
		return fmt.Errorf("%s is not a directory", dir)
	}
	owner, unlisted, entries, err := descriptor(h)
	if err != nil {
		return fmt.Errorf("who may write to %s: %w", dir, err)
	}
	me, err := user()
	if err != nil {
		return err
	}
	if err := judge(owner, unlisted, entries, me); err != nil {
		return fault.Refuse(fmt.Errorf("the directory %s %w", dir, err),
			"check what is in it; then, as administrator: "+
				`takeown /a /r /d y /f "%s", and icacls "%[1]s" /inheritance:r /grant *S-1-5-18:(OI)(CI)F `+
				"*S-1-5-32-544:(OI)(CI)F", dir)
	}
	return nil
}

// descriptor is whose a file is, and who may do what with it.
func descriptor(h windows.Handle) (owner string, unlisted bool, entries []entry, err error) {
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return "", false, nil, err
	}
	sid, _, err := sd.Owner()
	if err != nil {
		return "", false, nil, err
	}
	list, _, err := sd.DACL()
	if errors.Is(err, windows.ERROR_OBJECT_NOT_FOUND) || err == nil && list == nil {
		return sid.String(), true, nil, nil
	}
	if err != nil {
		return "", false, nil, err
	}
	for i := range uint32(list.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, i, &ace); err != nil {
			return "", false, nil, err
		}
		e := entry{kind: ace.Header.AceType, rights: uint32(ace.Mask)}
		if e.kind == allows || e.kind == denies { // others do not have it there
			e.who = (*windows.SID)(unsafe.Pointer(&ace.SidStart)).String()
		}
		entries = append(entries, e)
	}
	return sid.String(), false, entries, nil
}

// user is the SID of the user that runs this.
func user() (string, error) {
	token := windows.GetCurrentProcessToken()
	u, err := token.GetTokenUser()
	if err != nil {
		return "", os.NewSyscallError("GetTokenInformation", err)
	}
	return u.User.Sid.String(), nil
}
