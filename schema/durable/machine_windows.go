package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

// Permission bits mean nothing here but whether a file is for its owner only. Such a file or directory is created with
// a descriptor that admits the system, administrators and the user that runs this, and nobody by inheritance.
const (
	privateFile = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;"
	privateDir  = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;"
)

func private(perm fs.FileMode) bool { return perm.Perm()&0o077 == 0 }

func tempPerm(perm fs.FileMode) fs.FileMode { return perm.Perm() }

// What syscall has no call for.
var (
	kernel       = syscall.NewLazyDLL("kernel32.dll")
	fromSDDL     = syscall.NewLazyDLL("advapi32.dll").NewProc("ConvertStringSecurityDescriptorToSecurityDescriptorW")
	createDir    = kernel.NewProc("CreateDirectoryW")
	moveFileEx   = kernel.NewProc("MoveFileExW")
	writeThrough = uintptr(1 | 8) // replace what is there, and return when the disk has it
)

const (
	accessDenied     = syscall.Errno(5)
	sharingViolation = syscall.Errno(32)
	lockViolation    = syscall.Errno(33)

	patience = 3 * time.Second // with those who hold a file open, such as a virus scanner
)

// attributes are those for a new file or directory; free gives them back.
func attributes(sddl string) (sa *syscall.SecurityAttributes, free func(), err error) {
	token, err := syscall.OpenCurrentProcessToken()
	if err != nil {
		return nil, nil, err
	}
	defer token.Close()
	user, err := token.GetTokenUser()
	if err != nil {
		return nil, nil, err
	}
	sid, err := user.User.Sid.String()
	if err != nil {
		return nil, nil, err
	}
	text, err := syscall.UTF16PtrFromString(sddl + sid + ")")
	if err != nil {
		return nil, nil, err
	}
	sa = &syscall.SecurityAttributes{}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	ok, _, err := fromSDDL.Call(uintptr(unsafe.Pointer(text)), 1, uintptr(unsafe.Pointer(&sa.SecurityDescriptor)), 0)
	if ok == 0 {
		return nil, nil, err
	}
	return sa, func() { _, _ = syscall.LocalFree(syscall.Handle(sa.SecurityDescriptor)) }, nil
}

// Open opens a file for reading, so that it can be replaced or removed meanwhile.
func Open(name string) (*os.File, error) {
	p, err := syscall.UTF16PtrFromString(name)
	var h syscall.Handle
	if err == nil {
		err = patiently(func() (err error) {
			h, err = syscall.CreateFile(p, syscall.GENERIC_READ,
				syscall.FILE_SHARE_READ|syscall.FILE_SHARE_WRITE|syscall.FILE_SHARE_DELETE, nil, syscall.OPEN_EXISTING,
				syscall.FILE_ATTRIBUTE_NORMAL|syscall.FILE_FLAG_BACKUP_SEMANTICS, 0)
			return err
		}, sharingViolation, lockViolation)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

func openFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&(os.O_CREATE|os.O_EXCL) != os.O_CREATE|os.O_EXCL || !private(perm) {
		return os.OpenFile(name, flag, perm)
	}
	sa, free, err := attributes(privateFile)
	var h syscall.Handle
	if err == nil {
		defer free()
		var p *uint16
		if p, err = syscall.UTF16PtrFromString(name); err == nil {
			access := uint32(syscall.GENERIC_WRITE)
			if flag&os.O_RDWR != 0 {
				access |= syscall.GENERIC_READ
			}
			h, err = syscall.CreateFile(p, access, syscall.FILE_SHARE_READ|syscall.FILE_SHARE_WRITE, sa,
				syscall.CREATE_NEW, syscall.FILE_ATTRIBUTE_NORMAL|syscall.FILE_FLAG_OPEN_REPARSE_POINT, 0)
		}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

func mkdir(name string, perm fs.FileMode) error {
	if !private(perm) {
		return os.Mkdir(name, perm)
	}
	sa, free, err := attributes(privateDir)
	if err == nil {
		defer free()
		var p *uint16
		if p, err = syscall.UTF16PtrFromString(name); err == nil {
			if ok, _, failed := createDir.Call(uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(sa))); ok == 0 {
				err = failed
			}
		}
	}
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return nil
}

func rename(from, name string) error {
	f, err := syscall.UTF16PtrFromString(from)
	var to *uint16
	if err == nil {
		to, err = syscall.UTF16PtrFromString(name)
	}
	if err == nil {
		err = patiently(func() error {
			ok, _, err := moveFileEx.Call(uintptr(unsafe.Pointer(f)), uintptr(unsafe.Pointer(to)), writeThrough)
			if ok == 0 {
				return err
			}
			return nil
		}, accessDenied, sharingViolation, lockViolation)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: name, Err: err}
	}
	return nil
}

func remove(name string) error {
	return patiently(func() error { return os.Remove(name) }, sharingViolation, lockViolation)
}

// patiently tries again for as long as others hold the file, as the error tells.
func patiently(do func() error, errs ...syscall.Errno) error {
	began := time.Now()
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		err := do()
		held := false
		for _, e := range errs {
			held = held || errors.Is(err, e)
		}
		if !held || time.Since(began) > patience {
			return err
		}
		time.Sleep(pause)
	}
}

// RemoveAll removes a path and what is below it; that it is not there is no error. Unlike the function of package os it
// waits for those who hold a file, and asks of the system what every Windows, and Wine, can do.
func RemoveAll(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := RemoveAll(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
