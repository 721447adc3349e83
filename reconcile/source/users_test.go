package source

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema/fault"
)

// shell runs commands in a new directory, all in one process, and returns it. There is a repository "f" with a fleet.
func shell(t *testing.T, commands string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-euc", `git init -q --template= -b main f; cd f; mkdir hosts
echo 'package fleet' >fleet.cue; echo 1 >hosts/a.cue; git add .; git commit -qm 1; cd ..
`+commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// readAll reads a file of the fleet at a ref.
func readAll(dir, ref, name string) (string, error) {
	r, err := Open(dir)
	if err != nil {
		return "", err
	}
	rev, err := r.Revision(ref)
	if err != nil {
		return "", err
	}
	b, err := fs.ReadFile(rev.FS, name)
	return strings.TrimSpace(string(b)), err
}

func TestClonesAsGitUsersHaveThemAreRead(t *testing.T) {
	t.Parallel()
	dir := shell(t, `
for c in forge merges negative partial worktree relative precious; do git clone -q f $c; done
git -C forge config branch.pr7.merge refs/pull/7/head; git -C merges config branch.main.rebase merges
git -C negative config --add remote.origin.fetch '^refs/heads/tmp/*'
for c in partial relative precious; do git -C $c config core.repositoryFormatVersion 1; done
git -C partial config extensions.partialClone origin; git -C worktree config extensions.worktreeConfig true
git -C relative config extensions.relativeWorktrees true; git -C precious config extensions.preciousObjects true
git clone -q --bare f pool.git; mkdir forks; git clone -q --bare --shared pool.git forks/fork
echo ../../../pool.git/objects >forks/fork/objects/info/alternates
git clone -q --shared pool.git one; git clone -q --shared one two; git clone -q --shared two three
mkdir -p mono/infra/other; cp -r f mono/infra/fleet; rm -r mono/infra/fleet/.git; cd mono; git init -q --template=
printf x >"$(printf 'odd\\\377name')"; git add .; git commit -qm 1; git gc -q
`)
	for _, c := range []string{"forge", "merges", "negative", "partial", "worktree", "relative", "precious",
		"forks/fork", "one", "two", "three", "mono/infra/fleet", "mono/infra/fleet/hosts"} {
		if got, err := readAll(filepath.Join(dir, c), "HEAD", "hosts/a.cue"); err != nil || got != "1" {
			t.Errorf("%s: %q, %v", c, got, err)
		}
	}
	if _, err := readAll(filepath.Join(dir, "mono/infra/other"), "HEAD", "infra/fleet/fleet.cue"); err != nil {
		t.Errorf("beside the fleet: %v", err)
	}
}

func TestARepositoryThatCannotBeReadSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := shell(t, `
for c in sha256 reftable later bad lost; do git clone -q f $c; done
for c in sha256 reftable later; do git -C $c config core.repositoryFormatVersion 1; done
git -C sha256 config extensions.objectFormat sha256; git -C reftable config extensions.refStorage reftable
git -C later config extensions.fromTheFuture x; printf '[core]\n\tbare = "x\n' >bad/.git/config
rm -rf lost/.git/objects/??; rm -f lost/.git/objects/pack/*
git clone -q --shared f borrows; echo /no/such/objects >borrows/.git/objects/info/alternates
git clone -q --bare f empty; git -C empty symbolic-ref HEAD refs/heads/gone
git -C f config uploadpack.allowFilter true; git clone -q --no-checkout --filter=blob:none "file://$PWD/f" filtered
`)
	for c, want := range map[string]string{"sha256": "SHA-256", "reftable": "only refs in files",
		"later": "extensions.fromthefuture", "bad": "config:2: core.bare", "lost": "which HEAD names, is not in this",
		"borrows": "borrows objects from /no/such/objects", "empty": "HEAD names refs/heads/gone",
		"filtered": "hosts/a.cue of commit"} {
		_, err := readAll(filepath.Join(dir, c), "HEAD", "hosts/a.cue")
		if err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v; hint %q", c, err, fault.HintOf(err))
		}
	}
}

func TestARefIsABranchFirstAndNeverOneOfTwoCommits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shell(t, `
cd f; git tag same; git branch same; git tag both; git tag -am x old; echo 2 >hosts/a.cue; git commit -qam 2
git branch both; git branch new; git update-ref refs/remotes/origin/topic HEAD~1; git tag tree HEAD^{tree}
`), "f")
	for ref, want := range map[string]string{"main": "2", "same": "1", "old": "1", "new": "2", "refs/tags/both": "1",
		"refs/heads/both": "2", "origin/topic": "1", "HEAD~1": "1", "main^": "1", "old^{}": "1", "@": "2"} {
		if got, err := readAll(dir, ref, "hosts/a.cue"); err != nil || got != want {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	for ref, want := range map[string]string{"both": "ambiguous", "nothing": "no such branch", "tree": "names a tree",
		"main~9": "no such parent", "main^{/x}": "not supported", "../f": "no such branch", "refs/../HEAD": "no such"} {
		_, err := readAll(dir, ref, ".")
		if err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestWhatIsCommittedIsWhatItsAuthorSeesOrIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shell(t, `
cd f; mkdir -p secret sub/open; git init -q --template= hosts/team; git -C hosts/team commit -q --allow-empty -m x
printf '%s\n' 'secret/** filter=git-crypt' '*.latin working-tree-encoding=LATIN1' '*.big filter=lfs' >.gitattributes
echo '*.x -filter' >secret/.gitattributes
for n in secret/a secret/b.x n.latin m.big sub/open/c; do echo 1 >$n; done
printf '\000GITCRYPT\000x' >crypt; git -c filter.lfs.clean=cat add .; git commit -qm 2
`), "f")
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
	for name, refused := range map[string]string{"secret/a": "filter git-crypt", "secret/b.x": "", "m.big": "",
		"n.latin": "encoding", "sub/open/c": "", "crypt": "encrypted by git-crypt"} {
		for in, fsys := range map[string]fs.FS{"the commit": rev.FS, "the work tree": w} {
			if name == "crypt" && in == "the work tree" {
				continue // it is decrypted there
			}
			_, err := fs.ReadFile(fsys, name)
			if (err != nil) != (refused != "") || err != nil && !strings.Contains(err.Error(), refused) {
				t.Errorf("%s in %s: %v", name, in, err)
			}
		}
	}
	for in, fsys := range map[string]fs.FS{"the commit": rev.FS, "the work tree": w} {
		list, err := fs.ReadDir(fsys, "hosts")
		if err != nil || len(list) != 2 || list[1].Type() != fs.ModeIrregular {
			t.Errorf("a submodule in %s: %v, %v", in, list, err)
		}
	}
}

func TestACommitThatHadAFileIsFound(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shell(t, `
cd f; mkdir trust; echo 1 >trust/1; git add .; git commit -qm 2; git rm -qr trust; git commit -qm 3
git commit -q --allow-empty -m 4
`), "f")
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := r.Revision("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	had, err := r.Revision("HEAD~2")
	if err != nil {
		t.Fatal(err)
	}
	by, err := r.Revision("HEAD~1")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"trust/1", "trust/*"} {
		got := r.Lost(rev.FS, rev, pattern)
		if got == nil || *got != (Loss{"trust/1", ".", had.Commit, by.Commit}) ||
			got.Restore() != "git checkout "+had.Commit[:12]+" -- trust/1" {
			t.Errorf("%s: %v", pattern, got)
		}
		if got := r.Lost(had.FS, rev, pattern); got != nil {
			t.Errorf("%s: %v, where it is", pattern, got)
		}
	}
	if got := r.Lost(rev.FS, rev, "trust/2"); got != nil {
		t.Errorf("%v never was", got)
	}
	if got := LostHere(dir, "trust/*"); got == nil || got.By != by.Commit {
		t.Errorf("work tree: %v", got)
	}
}
