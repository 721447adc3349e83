package bake_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
)

// standins are adduser and addgroup where the busybox at hand is built without them, as Debian's is. They take what
// busybox 1.35 documents, and nothing else, and write what it writes.
var standins = map[string]string{"adduser": `#!/bin/sh
# adduser [-h DIR] [-g GECOS] [-s SHELL] [-G GRP] [-S] [-D] [-H] [-u UID] [-k SKEL] USER [GROUP]
set -e
while getopts h:g:s:G:SDHu:k: o; do
	case $o in
	h) home=$OPTARG ;; g) gecos=$OPTARG ;; s) shell=$OPTARG ;; G) group=$OPTARG ;; S) system=1 ;; D) disabled=1 ;;
	H) homeless=1 ;; u | k) ;; *) exit 1 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 1 ] && [ -n "$system$disabled$homeless" ] || { echo "adduser: usage" >&2; exit 1; }
! grep -q "^$1:" /etc/passwd || { echo "adduser: user '$1' in use" >&2; exit 1; }
gid=$(sed -n "s/^$group:[^:]*:\([0-9]*\):.*/\1/p" /etc/group)
[ -n "$gid" ] || { echo "adduser: unknown group $group" >&2; exit 1; }
echo "$1:x:$gid:$gid:$gecos:$home:$shell" >>/etc/passwd
`, "addgroup": `#!/bin/sh
# addgroup [-g GID] [-S] [USER] GROUP
set -e
while getopts g:S o; do case $o in g) ;; S) system=1 ;; *) exit 1 ;; esac; done
shift $((OPTIND - 1))
if [ $# = 2 ]; then
	grep -q "^$1:" /etc/passwd
	sed -i -e "/^$2:/{s/:\$/:$1/;t" -e "s/\$/,$1/}" /etc/group
	exit
fi
[ $# = 1 ] && [ -n "$system" ] || { echo "addgroup: usage" >&2; exit 1; }
! grep -q "^$1:" /etc/group || { echo "addgroup: group '$1' in use" >&2; exit 1; }
echo "$1:x:$((100 + $(grep -c . /etc/group))):" >>/etc/group
`}

// busyboxHost is a root with nothing but busybox, and the script of a tgz that makes users.
func busyboxHost(t *testing.T, r *rules.Recipe, commands ...string) (root string, users func() (string, error)) {
	t.Helper()
	root = installtest.BusyboxRoot(t, append(commands, "grep", "sed")...)
	for f, text := range map[string]string{"passwd": "root:x:0:0:root:/root:/bin/sh\n",
		"group": "root:x:0:\nadm:x:4:\nreaders:x:777:\n"} {
		if err := os.WriteFile(filepath.Join(root, "etc", f), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	st := newMemory()
	for _, e := range readTar(t, assembled(t, st, baked(t, st, repo{}, r, schema.Tgz)), true) {
		if e.Name == "."+schema.ScriptsFile("linux") {
			if err := os.WriteFile(filepath.Join(root, "tmp/scripts"), e.data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root, func() (string, error) {
		c := exec.Command("chroot", root, "/bin/sh", "/tmp/scripts", "users", "/tmp")
		c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		out, err := c.CombinedOutput()
		return string(out), err
	}
}

func TestUsersAreMadeOnceByBusybox(t *testing.T) {
	root, users := busyboxHost(t, peopled(), "adduser", "addgroup")
	for name, text := range standins {
		if exec.Command("chroot", root, "/bin/busybox", name, "--help").Run() == nil {
			continue // the real one
		}
		file := filepath.Join(root, "bin", name)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if out, err := users(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	passwd, _ := os.ReadFile(filepath.Join(root, "etc/passwd"))
	group, _ := os.ReadFile(filepath.Join(root, "etc/group"))
	for text, wants := range map[string][]string{
		string(passwd): {"\nmonitor:x:", ":Monitoring agent (of ours):/var/lib/m:/usr/sbin/nologin\n",
			"\nother:x:", "::/:/bin/sh\n"},
		string(group): {"\nmonitor:x:", "\nother:x:", "\nreaders:x:777:\n", "\nadm:x:4:monitor\n"}} {
		for _, want := range wants {
			if strings.Count(text, want) != 1 {
				t.Errorf("%q is there %d times:\n%s", want, strings.Count(text, want), text)
			}
		}
	}
}

// Exit status 127, of a shell that does not find useradd, was held against the release.
func TestAHostThatCannotMakeUsersIsNotReadyAndNamesWhatIsMissing(t *testing.T) {
	root, users := busyboxHost(t, peopled())
	out, err := users()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 75 ||
		!strings.Contains(out, "the group monitor is not there, and nothing to make it with: neither") {
		t.Errorf("%v: %s", err, out)
	}
	// Somebody may make them by other means.
	for file, text := range map[string]string{"passwd": "monitor:x:5:5::/:/bin/sh\nother:x:6:6::/:/bin/sh\n",
		"group": "root:x:0:\nadm:x:4:daemon,monitor\nreaders:x:7:\nmonitor:x:5:\nother:x:6:\n"} {
		if err := os.WriteFile(filepath.Join(root, "etc", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := users(); err != nil {
		t.Errorf("with all of them there: %v: %s", err, out)
	}
}

func TestAManifestNamesWhatThePackageNeedsOfItsHost(t *testing.T) {
	st := newMemory()
	for _, format := range []schema.Format{schema.Deb, schema.Rpm, schema.Tgz} {
		n := baked(t, st, repo{}, peopled(), format).Manifest.Needs
		if strings.Join(n.Users, " ") != "monitor other" || strings.Join(n.Groups, " ") != "adm monitor other readers" {
			t.Errorf("%s: %+v", format, n)
		}
		n = baked(t, st, repo{}, capable(1, "cap_net_raw"), format).Manifest.Needs
		if want := format == schema.Tgz; (strings.Join(n.Programs, " ") == "setcap") != want {
			t.Errorf("%s: %+v", format, n) // the others depend on the package that has it
		}
	}
}
