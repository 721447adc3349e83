package scripttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"bakehouse/schema/needs"
	"bakehouse/schema/needs/debianroot"

	"github.com/rogpeppe/go-internal/testscript"
)

// condition tells scripts whether they can use mount(8), SoftHSM, a program (tool:NAME) and so on, by the rule that all
// tests have (package needs).
func condition(cond string) (can bool, err error) {
	var lack error
	kind, name, _ := strings.Cut(cond, ":")
	switch {
	case kind == "tool":
		_, lack = exec.LookPath(name)
	case cond == "mount":
		if runtime.GOOS != "linux" || os.Geteuid() != 0 {
			lack = errors.New("mounting takes root on Linux")
		}
	case cond == "softhsm":
		_, lack = softhsmModule()
	case cond == "all":
		return needs.Everything(), nil // it takes minutes
	case cond == "machine" || kind == "debian":
		if !needs.Everything() {
			return false, nil // it installs on a copy of this machine what it downloads
		}
		if lack = canInstall(); kind == "debian" {
			_, lack = debianroot.Package(name)
		}
	default:
		return false, fmt.Errorf("unknown condition %s", cond)
	}
	return needs.Condition(lack)
}

// mount runs mount(8). What it mounts, the script's end unmounts.
func mount(ts *testscript.TestScript, dir string, args ...string) {
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		ts.Fatalf("mount: %v: %s", err, out)
	}
	ts.Defer(func() { _ = exec.Command("umount", "--lazy", dir).Run() })
}

// tmpfs DIR SIZE mounts a file system of that size.
func tmpfs(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o700))
	mount(ts, dir, "-t", "tmpfs", "-o", "size="+args[1], "tmpfs")
}

// readonly DIR lets nobody write below DIR, not even root; writable ends that.
func readonly(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	mount(ts, dir, "--bind", dir)
	mount(ts, dir, "-o", "remount,bind,ro")
}

func writable(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(exec.Command("umount", ts.MkAbs(args[0])).Run())
}

// fill DIR writes DIR/fill until the file system is full.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Create(filepath.Join(ts.MkAbs(args[0]), "fill"))
	ts.Check(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		ts.Fatalf("fill: %v", err)
	}
	ts.Check(f.Close())
}

// copyTree FROM TO copies what is below FROM into TO, which may exist.
func copyTree(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}
