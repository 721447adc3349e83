package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/agent/contact"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// The crash matrix: a host whose updater dies at a system call that changes something, over and over, and what becomes
// of it. BAKEHOUSE_TEST_CRASHES is how often, and BAKEHOUSE_TEST_SEED gives the same again.
//
//	what    registration, release that passes its health check, one that fails it, revert
//	format  tgz; deb, installed by dpkg
//	dies    the host program alone, dpkg alone, all of them; or power is cut: the host goes on from a copy of its disk
//	        as it is then, which has nothing that was not synced, mounted again
//
// After each, a tgz is old or new, never torn; then the next run converges, and fetches nothing that is there.
const (
	crashesVariable = "BAKEHOUSE_TEST_CRASHES"
	seedVariable    = "BAKEHOUSE_TEST_SEED"
	childVariable   = "BAKEHOUSE_TEST_CHILD"
)

// changing are system calls that change something.
const changing = "write,pwrite64,copy_file_range,sendfile,ftruncate,rename,renameat,renameat2,link,linkat,symlink," +
	"symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,fsync," +
	"fdatasync,syncfs,sync_file_range,utimensat"

func init() {
	if os.Getenv(childVariable) != "" {
		os.Exit(child(os.Args[1:]))
	}
}

// child is the updater as a process of its own, which may be killed: ROOT register FILES… or ROOT update.
func child(args []string) int {
	now, err := time.Parse(time.RFC3339, args[1])
	if err != nil {
		return 2
	}
	a, err := New(Options{Root: args[0], Version: "1.2.3", Now: func() time.Time { return now }})
	switch {
	case err != nil:
	case args[2] == "register":
		_, err = a.Register(context.Background(), RegisterOptions{Server: args[3], Host: "web01",
			User: testfleet.User, Force: true,
			Options:  contact.Options{CA: args[4], Anchor: args[5], Keys: []string{args[6]}},
			Password: func() (string, error) { return testfleet.Password, nil }})
	default:
		_, err = a.Update(context.Background(), UpdateOptions{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// victim is a host of the matrix.
type victim struct {
	*host
	fleet  *testfleet.Fleet
	format schema.Format
	rng    *rand.Rand
	image  string // of the disk; empty: none of its own

	register []string
	good     string // that it runs
	release  int64
	counts   map[string]int
}

// die runs the updater until something dies at a call that changes something, and says what; nothing if all came to
// its end first. Calls are counted by thread, so that the same number is another call each time.
func (v *victim) die(command ...string) string {
	t := v.t
	t.Helper()
	calls, at := changing, 1+v.rng.IntN(30)
	if v.rng.IntN(2) == 0 { // those of the log are many
		calls, at = strings.TrimPrefix(changing, "write,"), 1+v.rng.IntN(12)
	}
	inject := []string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e",
		fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, at)}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{v.root, v.fleet.Now().Format(time.RFC3339)}, command...)
	c, what, died := exec.Command("strace", append(append(inject[:len(inject):len(inject)], exe), args...)...),
		"the host program", func(err error) bool { return killed(err) }
	c.Env = append(os.Environ(), childVariable+"=1")
	if v.format == schema.Deb && v.rng.IntN(3) > 0 { // which the updater finds in a directory of the test's
		bin, mark, end := t.TempDir(), filepath.Join(t.TempDir(), "died"), ""
		if what = "dpkg"; v.rng.IntN(2) == 0 {
			what, end = "dpkg with the host program", "kill -9 $PPID"
		}
		script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *--no-act*) ;; *--install*)\nstrace %s /usr/bin/dpkg \"$@\"\n"+
			"code=$?\nif [ $code -ge 128 ]; then : >%s; %s\nfi\nexit $code ;;\nesac\nexec /usr/bin/dpkg \"$@\"\n",
			strings.Join(inject, " "), mark, end)
		if err := os.WriteFile(filepath.Join(bin, "dpkg"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		c = exec.Command(exe, args...)
		c.Env = append(os.Environ(), childVariable+"=1", "PATH="+bin+":"+os.Getenv("PATH"))
		died = func(error) bool { _, err := os.Stat(mark); return err == nil }
	}
	err = c.Run() // strace stays until all that it follows has ended
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	if !died(err) {
		return ""
	}
	return what
}

// killed is how strace ends when what it started was killed: by the same signal.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// cutPower has the host go on from its disk as it is.
func (v *victim) cutPower() {
	v.t.Helper()
	if v.image == "" {
		return
	}
	copied := v.image + ".cut"
	v.do("cp", "--sparse=always", v.image, copied)
	v.do("umount", "--lazy", v.root)
	v.do("mv", copied, v.image)
	v.do("mount", "-o", "loop", v.image, v.root)
}

func (v *victim) do(name string, args ...string) {
	v.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		v.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func (v *victim) spec(text string) testfleet.Spec {
	s := spec(text)
	s.Format = v.format
	s.Shared = map[string]string{"/usr/lib/acme/big": bulk, "/usr/lib/acme/of": "segment of " + text}
	s.Own["/etc/agent.conf"] = text
	return s
}

// whole reports a host that is neither old nor new.
func (v *victim) whole(when string) {
	v.t.Helper()
	program, conf := v.reads("/usr/bin/agent"), v.reads("/etc/agent.conf")
	if program != conf || v.reads("/usr/lib/acme/of") != "segment of "+program && program != "absent" {
		v.t.Fatalf("%s the host is torn: program %q, settings %q, %q", when, program, conf, v.reads("/usr/lib/acme/of"))
	}
}

// segments are those that are here whole.
func (v *victim) segments() (names []string) {
	entries, _ := os.ReadDir(v.files.Stored(segmentsDir))
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), partSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// converge is the next run, which nobody disturbs.
func (v *victim) converge(when, want string, fails bool) {
	t := v.t
	t.Helper()
	if v.format == schema.Tgz {
		v.whole(when + " and a crash")
	}
	had := v.segments()
	v.fleet.Requests() // those before
	v.said.Reset()
	r, err := v.start(v.fleet).Update(t.Context(), UpdateOptions{})
	for range 2 { // an attempt that the host itself ended is tried again later
		if r.Code != outcome.CodeHost {
			break
		}
		v.counts["tried again after a pause"]++
		v.fleet.Pass(25 * time.Hour)
		r, err = v.start(v.fleet).Update(t.Context(), UpdateOptions{})
	}
	for _, request := range v.fleet.Requests() {
		for _, name := range had {
			if strings.Contains(request, schema.SegmentPath) && strings.Contains(request, name) {
				t.Errorf("%s: segment %s was here and is fetched again", when, name[:8])
			}
		}
	}
	s := v.stateOf()
	v.whole(when)
	if got := v.reads("/usr/bin/agent"); got != want || s.Pending != nil || (s.WhyFailed(v.release) != "") != fails ||
		!fails && err != nil {
		t.Fatalf("%s: the host runs %q, want %q; release %d failed: %q (want %t), pending %v, installed %v: %v (%s)\n"+
			"%s",
			when, got, want, v.release, s.WhyFailed(v.release), fails, s.Pending, s.Installed, err, fault.HintOf(err),
			&v.said)
	}
	if i := s.Installed; i == nil || !fails && i.Release != v.release {
		t.Fatalf("%s: installed is %v, want release %d", when, i, v.release)
	}
	err = filepath.WalkDir(v.root, func(path string, _ fs.DirEntry, err error) error {
		if durable.IsTemp(filepath.Base(path)) && !strings.HasPrefix(path, filepath.Join(v.root, "run")) {
			t.Errorf("%s: %s is left", when, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// turn gives the host a release by turns, and has it die on the way.
func (v *victim) turn(n int) {
	v.t.Helper()
	text := strconv.Itoa(n)
	s, want, fails, kind := v.spec(text), text, false, "passes"
	switch n % 3 {
	case 1:
		kind, want, fails = "fails its health check", v.good, true
		s.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
			Within: schema.Duration(30 * time.Millisecond)}}
	case 2:
		kind, s, want = "reverts", v.spec(v.good), v.good
	}
	v.fleet.Pass(time.Hour)
	v.fleet.Give("web01", v.fleet.Pack(s))
	v.release = v.fleet.Given["web01"].Release
	died := v.die("update")
	if died == "" {
		v.counts["ended before it was to die"]++
	} else {
		v.counts[died+" died"]++
	}
	if v.image != "" {
		v.cutPower()
		v.counts["power was cut"]++
	}
	v.counts["a release that "+kind]++
	v.converge(fmt.Sprintf("after release %d, which %s (%s died)", v.release, kind, died), want, fails)
	v.good = want
}

// begin makes a host, which dies while it registers, too.
func (v *victim) begin() {
	v.t.Helper()
	for v.die(append([]string{"register"}, v.register...)...) != "" {
		v.counts["registration died"]++
		if v.image != "" {
			v.cutPower()
		}
		if v.counts["registration died"]%4 == 0 {
			break
		}
	}
	if _, err := v.start(v.fleet).Register(v.t.Context(), v.options()); err != nil {
		v.t.Fatalf("registering again: %v", err)
	}
	v.good = "0"
	v.fleet.Give("web01", v.fleet.Pack(v.spec("0")))
	v.release = v.fleet.Given["web01"].Release
	v.converge("at the beginning", "0", false)
}

func (v *victim) options() RegisterOptions {
	o := options(v.t, v.fleet, "web01")
	o.Force = true
	return o
}

func TestWheneverTheUpdaterDiesTheNextRunConverges(t *testing.T) {
	needs.All(t, "kills the updater at system calls")
	needs.Root(t, "dpkg, mount")
	needs.Tools(t, "strace", "dpkg", "mkfs.ext4", "mount")
	needs.Alone(t)
	crashes := 100
	if n, err := strconv.Atoi(os.Getenv(crashesVariable)); err == nil {
		crashes = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		seed = n
	}
	t.Logf("%s=%d", seedVariable, seed)
	for i, c := range []struct {
		name   string
		format schema.Format
		power  bool
		share  int // of a hundred
	}{{"tgz", schema.Tgz, false, 50}, {"tgz, power cut", schema.Tgz, true, 30}, {"deb", schema.Deb, false, 14},
		{"deb, power cut", schema.Deb, true, 6}} {
		t.Run(c.name, func(t *testing.T) {
			f := testfleet.New(t)
			v := &victim{host: newHost(t, f), fleet: f, format: c.format, rng: rand.New(rand.NewPCG(seed, uint64(i))),
				counts: map[string]int{}}
			v.register = []string{f.URL, file(t, f.CA), file(t, f.Anchor), file(t, []byte(f.Package.PEM()))}
			f.Add("web01")
			if c.power {
				v.image = filepath.Join(t.TempDir(), "disk")
				v.do("truncate", "--size=96M", v.image)
				v.do("mkfs.ext4", "-q", v.image)
				v.do("mount", "-o", "loop", v.image, v.root)
				t.Cleanup(func() { v.do("umount", "--lazy", v.root) })
			}
			v.begin()
			for n := range crashes * c.share / 100 {
				v.turn(3 + n)
			}
			t.Logf("%s: %v", c.name, v.counts)
		})
	}
}
