package scripttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"bakehouse/schema"
	"bakehouse/schema/needs/debianroot"

	"github.com/rogpeppe/go-internal/testscript"
)

// canInstall is what keeps packages from being installed into a throw-away copy of this machine.
func canInstall() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" || os.Geteuid() != 0 {
		return errors.New("installing the scripts' packages takes root on Linux for amd64")
	}
	for _, tool := range []string{"bash", "dpkg", "apt-get", "unshare", "chroot", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(schema.StateDir(runtime.GOOS)); err == nil {
		return fmt.Errorf("this machine is a host itself: %s is here", schema.StateDir(runtime.GOOS))
	}
	const overlay = `mount -t tmpfs tmpfs /mnt
mkdir /mnt/u /mnt/w /mnt/r
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r`
	if out, err := exec.Command("unshare", "--mount", "bash", "-euc", overlay).CombinedOutput(); err != nil {
		return fmt.Errorf("no overlay of this machine's root: %s", out)
	}
	return nil
}

// debian PACKAGE FILE puts a package of Debian at FILE.
func debian(ts *testscript.TestScript, neg bool, args []string) {
	deb, err := debianroot.Package(args[0])
	ts.Check(err)
	b, err := os.ReadFile(deb)
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o644))
}

// machine FILE runs the shell commands of FILE as root on a throw-away copy of this machine, without a network but its
// own loopback, in the script's directory.
func machine(ts *testscript.TestScript, neg bool, args []string) {
	const enter = `ip link set lo up
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mkdir -p "/mnt/root$PWD"
mount --bind . "/mnt/root$PWD"
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
exec chroot /mnt/root bash -euo pipefail -c "cd '$PWD'; . '$1'"`
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-euc", enter, "machine", ts.MkAbs(args[0]))
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "HOME=/root", "PWD=" + cmd.Dir}
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	if err := cmd.Run(); (err != nil) != neg {
		ts.Fatalf("on the machine: %v", err)
	}
}
