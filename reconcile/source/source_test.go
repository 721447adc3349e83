package source

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"bakehouse/schema/fault"
)

// repo makes a repository with the git program, which every user of Bakehouse has.
func repo(t *testing.T) (dir string, git func(args ...string) string) {
	t.Helper()
	dir = t.TempDir()
	git = func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	return dir, git
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheTreeOfACommitIsReadAsAFileSystem(t *testing.T) {
	dir, git := repo(t)
	write(t, dir, "fleet.cue", "package fleet\n")
	write(t, dir, "hosts/web/hosts.cue", "package web\n")
	write(t, dir, "hosts/web.cue", "x\n") // git sorts this after hosts/web/, a file system before it
	git("add", "-A")
	git("commit", "-qm", "first\n\nbody")
	for _, packed := range []bool{false, true} {
		if packed {
			git("gc", "-q")
		}
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := r.Revision("HEAD")
		if err != nil {
			t.Fatal(err)
		}
		if rev.Commit != git("rev-parse", "HEAD") || rev.Tree != git("rev-parse", "HEAD^{tree}") || rev.Subject != "first" {
			t.Errorf("revision %+v", rev)
		}
		if err := fstest.TestFS(rev.FS, "fleet.cue", "hosts/web/hosts.cue", "hosts/web.cue"); err != nil {
			t.Error(err)
		}
	}
}

func TestACommittedRevisionDoesNotSeeTheWorkTreeAndTheDirtyFilesAreNamed(t *testing.T) {
	dir, git := repo(t)
	write(t, dir, "a.cue", "one")
	write(t, dir, "b.cue", "one")
	git("add", "-A")
	git("commit", "-qm", "first")
	write(t, dir, "a.cue", "two")
	write(t, dir, "new.cue", "new")
	r, err := Open(filepath.Join(dir))
	if err != nil {
		t.Fatal(err)
	}
	rev, err := r.Revision("main")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := fs.ReadFile(rev.FS, "a.cue"); err != nil || string(b) != "one" {
		t.Errorf("a.cue = %q, %v", b, err)
	}
	dirty, err := r.Dirty(".")
	if err != nil || !slices.Equal(dirty.Changed, []string{"a.cue", "new.cue"}) {
		t.Errorf("dirty = %v, %v", dirty, err)
	}
	w, err := Worktree(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := fs.ReadFile(w, "a.cue"); err != nil || string(b) != "two" {
		t.Errorf("work tree's a.cue = %q, %v", b, err)
	}
	if _, err := fs.Stat(w, ".git/HEAD"); err == nil {
		t.Error("the work tree shows .git")
	}
}

func TestSymbolicLinksAreRefusedInCommitsAndWorkTrees(t *testing.T) {
	dir, git := repo(t)
	write(t, dir, "secret", "s")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.cue")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	git("add", "-A")
	git("commit", "-qm", "x")
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := r.Revision("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	w, err := Worktree(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]fs.FS{"commit": rev.FS, "work tree": w} {
		if _, err := fs.ReadFile(f, "link.cue"); err == nil || !strings.Contains(err.Error(), "symbolic links") {
			t.Errorf("%s: link.cue: %v", name, err)
		}
		if _, err := fs.ReadFile(f, "loop/secret"); err == nil {
			t.Errorf("%s: a file was read through a linked directory", name)
		}
	}
}

func TestBareLinkedAndSharedRepositoriesAreRead(t *testing.T) {
	dir, git := repo(t)
	write(t, dir, "fleet.cue", "package fleet\n")
	git("add", "-A")
	git("commit", "-qm", "first")
	bare, linked, shared := filepath.Join(t.TempDir(), "bare.git"), filepath.Join(t.TempDir(), "linked"), filepath.Join(t.TempDir(), "shared")
	git("clone", "-q", "--bare", dir, bare)
	git("worktree", "add", "-q", linked, "-b", "other")
	git("clone", "-q", "--shared", dir, shared)
	for _, d := range []string{bare, linked, shared} {
		r, err := Open(d)
		if err != nil {
			t.Errorf("%s: %v", d, err)
			continue
		}
		rev, err := r.Revision("HEAD")
		if err != nil {
			t.Errorf("%s: %v", d, err)
			continue
		}
		if b, err := fs.ReadFile(rev.FS, "fleet.cue"); err != nil || string(b) != "package fleet\n" {
			t.Errorf("%s: %q, %v", d, b, err)
		}
		if dirty, err := r.Dirty("."); err != nil || len(dirty.Changed) > 0 {
			t.Errorf("%s: dirty %v, %v", d, dirty, err)
		}
	}
}

func TestAnObjectThatIsNotWhatItsNameSaysIsRefused(t *testing.T) {
	dir, git := repo(t)
	write(t, dir, "sub/a.cue", "what was committed")
	write(t, dir, "b.cue", "what the attacker wants")
	git("add", "-A")
	git("commit", "-qm", "first")
	first := git("rev-parse", "HEAD")
	git("rm", "-q", "b.cue")
	git("commit", "-qm", "second")
	object := func(rev string) string {
		hash := git("rev-parse", rev)
		return filepath.Join(dir, ".git/objects", hash[:2], hash[2:])
	}
	read := func() error {
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := r.Revision("main")
		if err != nil {
			return err
		}
		_, err = fs.ReadFile(rev.FS, "sub/a.cue")
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for name, swap := range map[string][2]string{
		"a file": {"main:sub/a.cue", first + ":b.cue"}, "a directory": {"main:sub", first + ":"},
		"the root": {"main^{tree}", first + "^{tree}"},
	} {
		victim, fake := object(swap[0]), object(swap[1])
		if err := errors.Join(os.Rename(victim, victim+".true"), os.Link(fake, victim)); err != nil {
			t.Fatal(err)
		}
		if err := read(); !fault.IsRefusal(err) || !strings.Contains(err.Error(), "other bytes under this name") {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Rename(victim+".true", victim); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsMissingIsSaidWithAHint(t *testing.T) {
	dir, _ := repo(t)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]func() error{
		"no commit yet":     func() error { _, err := r.Revision("HEAD"); return err },
		"no such ref":       func() error { _, err := r.Revision("no/such"); return err },
		"no repository":     func() error { _, err := Open(t.TempDir()); return err },
		"no such directory": func() error { _, err := Open(filepath.Join(dir, "nope")); return err },
	}
	for name, f := range cases {
		if err := f(); err == nil || fault.HintOf(err) == "" {
			t.Errorf("%s: error %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

func TestARevisionIsReadByManyGoroutines(t *testing.T) {
	dir, git := repo(t)
	for _, n := range []string{"a", "b", "c", "d"} {
		write(t, dir, n+"/x.cue", strings.Repeat(n, 1000))
	}
	git("add", "-A")
	git("commit", "-qm", "x")
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := r.Revision("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, n := range []string{"a", "b", "c", "d", "a", "b", "c", "d"} {
		wg.Go(func() {
			b, err := fs.ReadFile(rev.FS, n+"/x.cue")
			if err != nil || string(b) != strings.Repeat(n, 1000) {
				t.Errorf("%s: %v", n, err)
			}
		})
	}
	wg.Wait()
}
