package versions

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// big is a file that is worth a link.
func big(name, data string) entry {
	return entry{name: name, data: strings.Repeat(data, linkMin/len(data)+1), mode: 0o755}
}

// sharedWith installs old, does something to the host, installs new, and reports whether the program is one file in
// both.
func sharedWith(t *testing.T, old, new []entry, between func(current string) error) (one bool, s *System) {
	t.Helper()
	s = sandbox(t)
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, old...)))
	current, err := filepath.EvalSymlinks(s.Path(schema.VersionDir + "/" + currentLink))
	if err == nil && between != nil {
		err = between(current)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, new...)))
	was, err := os.Stat(filepath.Join(current, "usr/bin/agent"))
	is, ierr := os.Stat(s.Path("/usr/bin/agent"))
	if err := errors.Join(err, ierr); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.Path("/usr/bin/agent"))
	for _, e := range new {
		if e.name == "./usr/bin/agent" && (string(b) != e.data || is.Mode().Perm() != os.FileMode(e.mode)) {
			t.Errorf("the program has mode %o and is not what came (%v)", is.Mode().Perm(), err)
		}
	}
	return os.SameFile(was, is), s
}

func TestOnlyWhatNobodyButRootCanChangeIsOneFileInTwoVersions(t *testing.T) {
	t.Parallel()
	program, conf := big("./usr/bin/agent", "same "), entry{name: "./etc/agent.conf", data: "1"}
	script := func(text string) entry {
		return entry{name: "." + scriptsFile, data: "exit 0\n" + text, mode: 0o755}
	}
	program644 := program
	program644.mode = 0o644
	writable := program
	writable.mode = 0o775
	last := program
	last.data = program.data[:len(program.data)-1] + "X"
	first := program
	first.data = "X" + program.data[1:]
	in := func(name string, do func(path string) error) func(string) error {
		return func(current string) error { return do(filepath.Join(current, name)) }
	}
	for name, c := range map[string]struct {
		old, new []entry
		between  func(current string) error
		one      bool
	}{
		"it is the same": {[]entry{program, conf}, []entry{program}, nil, true},
		"a script names another file": {[]entry{program, script("chown x /usr/bin/agent2")},
			[]entry{program, script("chmod 700 /usr/bin/agent-x; ls /usr/bin/y /usr")}, nil, true},
		"a script of the old one names it": {[]entry{program, script("chown x \"$2\"/usr/bin/agent")},
			[]entry{program}, nil, false},
		"a script of the new one names it": {[]entry{program}, []entry{program, script("strip '/usr/bin/agent'")},
			nil, false},
		"a script that comes before it": {[]entry{program}, []entry{script("strip /usr/bin/agent"), program},
			nil, false},
		"a script has its directory": {[]entry{program}, []entry{program,
			script("chmod -R o+w \"$2/usr/bin\"")}, nil, false},
		"a script has all of its directory": {[]entry{program}, []entry{program, script("touch /usr/bin/*")}, nil,
			false},
		"its last byte is another":  {[]entry{program}, []entry{last}, nil, false},
		"its first byte is another": {[]entry{program}, []entry{first}, nil, false},
		"it has another mode":       {[]entry{program}, []entry{program644}, nil, false},
		"its group may write":       {[]entry{writable}, []entry{writable}, nil, false},
		"it is longer": {[]entry{program}, []entry{big("./usr/bin/agent", "same, more ")},
			nil, false},
		"somebody changed it, and its size is": {[]entry{program}, []entry{program}, in("usr/bin/agent",
			func(p string) error { return os.WriteFile(p, []byte(last.data), 0o755) }), false},
		"somebody gave it another mode": {[]entry{program}, []entry{program}, in("usr/bin/agent",
			func(p string) error { return os.Chmod(p, os.ModeSetuid|0o755) }), false},
		"it is a link to a file like it": {[]entry{program}, []entry{program}, in("usr/bin/agent",
			func(p string) error {
				return errors.Join(os.Rename(p, p+".1"), os.Symlink("agent.1", p))
			}), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if one, _ := sharedWith(t, c.old, c.new, c.between); one != c.one {
				t.Errorf("it is one file: %t, want %t", one, c.one)
			}
		})
	}
}

// The user of a service that owns a file of the package writes to it: the version before, and the one after, do not
// change with it.
func TestAServicesUserCannotAlterTwoVersionsByOneFile(t *testing.T) {
	t.Parallel()
	needs.Root(t, "giving a file away")
	program := big("./usr/bin/agent", "same ")
	for name, give := range map[string]func(string) error{
		"its user's":  func(p string) error { return os.Chown(p, 12345, 0) },
		"its group's": func(p string) error { return os.Chown(p, 0, 12345) },
	} {
		one, _ := sharedWith(t, []entry{program}, []entry{program},
			func(current string) error { return give(filepath.Join(current, "usr/bin/agent")) })
		if one {
			t.Errorf("%s: it is one file in both versions", name)
		}
	}
}

func TestAVersionThatSharesFilesOutlivesTheOther(t *testing.T) {
	t.Parallel()
	program := big("./usr/bin/agent", "same ")
	_, s := sharedWith(t, []entry{program, {name: "./etc/a", data: "1"}}, []entry{program, {name: "./etc/a",
		data: "2"}}, nil)
	s.Prune(nil, false)
	sameRuns(t, s, map[string]string{"usr/bin/agent": program.data, "etc/a": "2"})
}

func TestAFullDiskEndsUnpackingBeforeItIsFull(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	full := errors.New("full")
	x := extraction{dir: root, lim: defaultLimits, room: func(need int64) error {
		if need > 10 {
			return full
		}
		return nil
	}}
	_, err = x.extract(t.Context(), strings.NewReader(string(archive(t, entry{name: "a", data: "12345"},
		entry{name: "b", data: "123456"}))))
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
