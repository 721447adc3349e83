package msi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"bakehouse/agent/hostpath"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// limit is that of one run of the installer.
const limit = 30 * time.Minute

// Here is the installer of this host.
func Here(log *slog.Logger, stopped map[string][]string) *Installer {
	program := hostpath.On("", schema.Prefix(runtime.GOOS))
	return &Installer{Windows: system{log, program}, Stopped: stopped, Log: log, Pause: pause, Limit: limit,
		Folders: []string{program, filepath.Dir(hostpath.On("", schema.ConfigFile(runtime.GOOS)))}}
}

// Usable says what is missing here to install packages.
func Usable() error {
	_, err := os.Stat(hostpath.System("msiexec.exe"))
	return err
}

// Witnesses change whenever what is installed does: Windows keeps a copy of each package there.
func Witnesses() []string {
	return []string{filepath.Join(filepath.Dir(hostpath.System("")), "Installer")}
}

// software is where a package writes down what it is.
const software = `SOFTWARE\Bakehouse`

// Version is that of the installed package; "" if there is none.
func Version() (string, error) {
	_, version, err := system{}.Recorded()
	return version, err
}

type system struct {
	log    *slog.Logger
	folder string // of the package's programs
}

func (system) Recorded() (recipe schema.RecipeID, version string, err error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, software, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	defer key.Close()
	text, _, err := key.GetStringValue("Recipe")
	if err == nil {
		version, _, err = key.GetStringValue("Version")
	}
	if errors.Is(err, registry.ErrNotExist) {
		return "", "", nil
	}
	return schema.RecipeID(text), version, err
}

func (system) Renames() (files []string, err error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\Session Manager`,
		registry.QUERY_VALUE)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	for _, name := range []string{"PendingFileRenameOperations", "PendingFileRenameOperations2"} {
		all, _, err := key.GetStringsValue(name)
		if err != nil && !errors.Is(err, registry.ErrNotExist) {
			return nil, err
		}
		for _, f := range all {
			if f != "" { // of a file that is removed
				files = append(files, f)
			}
		}
	}
	return files, nil
}

func (s system) Msiexec(ctx context.Context, args ...string) (code uint32, log []byte, err error) {
	file := hostpath.On("", schema.StateDir(runtime.GOOS)+"/msi.log")
	if err := durable.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return 0, nil, err
	}
	_ = os.Rename(file, file+".1") // none is there at first
	_, err = process.Run(process.New(ctx, nil, hostpath.System("msiexec.exe"), append(args, "/l*v", file)...), s.log)
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code, err = uint32(ended.ExitCode()), nil
	}
	return code, tail(file), err
}

// maxLog is how much of the end of a log is read, in bytes.
const maxLog = 1 << 20

func tail(file string) []byte {
	f, err := durable.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, maxLog)
	mark := make([]byte, 2)
	n, _ := f.ReadAt(mark, 0)
	mark = mark[:n]
	fi, err := f.Stat()
	if err != nil {
		return nil
	}
	from := max(0, fi.Size()-maxLog) &^ 1
	n, _ = f.ReadAt(b, from)
	b = b[:n]
	if from > 0 && len(mark) == 2 && mark[0] == 0xff && mark[1] == 0xfe {
		b = append(mark, b...)
	}
	return text(b)
}

// Of Windows' own library: what packages and products are is asked of who installs them.
var (
	library      = windows.NewLazySystemDLL("msi.dll")
	openDatabase = library.NewProc("MsiOpenDatabaseW")
	openView     = library.NewProc("MsiDatabaseOpenViewW")
	execute      = library.NewProc("MsiViewExecute")
	fetch        = library.NewProc("MsiViewFetch")
	getString    = library.NewProc("MsiRecordGetStringW")
	closeHandle  = library.NewProc("MsiCloseHandle")
	enumRelated  = library.NewProc("MsiEnumRelatedProductsW")
	queryState   = library.NewProc("MsiQueryProductStateW")
)

func (system) Codes(file string) (c Codes, err error) {
	name, err := windows.UTF16PtrFromString(file)
	if err != nil {
		return c, err
	}
	var db uint32
	if r, _, _ := openDatabase.Call(uintptr(unsafe.Pointer(name)), 0, uintptr(unsafe.Pointer(&db))); r != 0 {
		return c, fmt.Errorf("Windows Installer cannot open it: %w", windows.Errno(r))
	}
	defer closeHandle.Call(uintptr(db))
	if c.Product, err = property(db, "ProductCode"); err == nil {
		c.Upgrade, err = property(db, "UpgradeCode")
	}
	return c, err
}

// property is a row of a database's table of properties.
func property(db uint32, name string) (string, error) {
	failed := func(code uintptr) error { return fmt.Errorf("property %s: %w", name, windows.Errno(code)) }
	query, err := windows.UTF16PtrFromString("SELECT `Value` FROM `Property` WHERE `Property`='" + name + "'")
	if err != nil {
		return "", err
	}
	var view, record uint32
	if r, _, _ := openView.Call(uintptr(db), uintptr(unsafe.Pointer(query)), uintptr(unsafe.Pointer(&view))); r != 0 {
		return "", failed(r)
	}
	defer closeHandle.Call(uintptr(view))
	if r, _, _ := execute.Call(uintptr(view), 0); r != 0 {
		return "", failed(r)
	}
	if r, _, _ := fetch.Call(uintptr(view), uintptr(unsafe.Pointer(&record))); r != 0 {
		return "", failed(r)
	}
	defer closeHandle.Call(uintptr(record))
	value := make([]uint16, 64) // a code has 38
	n := uint32(len(value))
	r, _, _ := getString.Call(uintptr(record), 1, uintptr(unsafe.Pointer(&value[0])), uintptr(unsafe.Pointer(&n)))
	if r != 0 {
		return "", failed(r)
	}
	return windows.UTF16ToString(value), nil
}

func (system) Products(upgrade string) (codes []string, err error) {
	code, err := windows.UTF16PtrFromString(upgrade)
	if err != nil {
		return nil, err
	}
	for n := uintptr(0); ; n++ {
		product := make([]uint16, 39)
		r, _, _ := enumRelated.Call(uintptr(unsafe.Pointer(code)), 0, n, uintptr(unsafe.Pointer(&product[0])))
		switch windows.Errno(r) {
		case windows.ERROR_SUCCESS:
		case windows.ERROR_NO_MORE_ITEMS:
			return codes, nil
		default:
			return nil, windows.Errno(r)
		}
		const installed = 5
		if state, _, _ := queryState.Call(uintptr(unsafe.Pointer(&product[0]))); state == installed {
			codes = append(codes, windows.UTF16ToString(product))
		}
	}
}

// Free ends what runs from the package's folder. The host program itself may be this very process, or one that somebody
// looks at the host with: its file is moved aside, and a copy is in its place until the installer comes.
func (s system) Free() (ended []string, err error) {
	program := hostpath.On("", schema.ProgramFile(runtime.GOOS))
	old, _ := filepath.Glob(program + ".old-*")
	for _, f := range old {
		_ = os.Remove(f) // one that still runs stays
	}
	ended = process.EndBelow(s.folder, func(file string) bool {
		file, own := strings.ToLower(file), strings.ToLower(program)
		return file == own || strings.HasPrefix(file, own+".old-")
	})
	if free(program) {
		return ended, nil
	}
	f, err := os.Open(program)
	if err != nil {
		return ended, err
	}
	defer f.Close()
	next := program + ".new"
	if err := (durable.Disk{}).WriteFrom(next, f, 0o755); err != nil {
		return ended, err
	}
	f.Close()
	aside := fmt.Sprintf("%s.old-%d", program, time.Now().UnixNano())
	if err := durable.Rename(program, aside); err != nil {
		return ended, errors.Join(err, os.Remove(next))
	}
	return ended, durable.Rename(next, program)
}

// free reports whether nobody holds a file, or it is not there.
func free(file string) bool {
	name, err := windows.UTF16PtrFromString(file)
	if err != nil {
		return true
	}
	h, err := windows.CreateFile(name, windows.GENERIC_WRITE|windows.DELETE, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err == nil {
		windows.CloseHandle(h)
	}
	return err == nil || errors.Is(err, os.ErrNotExist)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
