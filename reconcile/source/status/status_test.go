package status

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/source/gitdir"
)

// script runs shell commands in a new repository, all in one process, and returns its directory.
func script(t *testing.T, commands string) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range map[string]string{"HOME": filepath.Join(dir, ".home"), "XDG_CONFIG_HOME": "",
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
		"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"} {
		t.Setenv(name, value)
	}
	cmd := exec.Command("sh", "-euc", "git init -q --template= -b main r; mkdir r/.git/info; cd r\n"+commands)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "r")
}

// ours and theirs are what this package and git say of a folder of the repository. Git runs second, because it writes
// the index.
func ours(t *testing.T, dir, folder string) []string {
	t.Helper()
	r, err := gitdir.Open(dir, filepath.Join(dir, ".git"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Of(r, folder)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(s.Unmerged, s.Changed)
	slices.Sort(all)
	return all
}

func theirs(t *testing.T, dir, folder string) (names []string) {
	t.Helper()
	cmd := exec.Command("git", "status", "--porcelain", "--no-renames", "-z", "--", ".")
	cmd.Dir = filepath.Join(dir, folder)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if line == "" {
			continue
		}
		names = append(names, strings.TrimPrefix(line[3:], strings.TrimPrefix(folder+"/", "./")))
	}
	slices.Sort(names)
	return names
}

// everything has a file in each state that git tells apart, and names that only git takes for a matter of course.
const everything = `
mkdir -p a/b c hosts old ign/tracked "$HOME/.config/git"
printf '%s\n' '*.swp' '!keep.swp' '/ign' 'out/' 'a/**/z' '\#x' 'sp\ ' '[0-9]*.tmp' >.gitignore
echo '*.local' >.git/info/exclude
echo '*~' >"$HOME/.config/git/ignore"
printf '%s\n' '*.txt text' '*id ident' '*.bin -text' 'crypt/* filter=secret' '"q uo.te" text' \
	'[attr]win text eol=crlf' \
	'nocr -text' 'mixed text=auto' '*.ini win' >.gitattributes
git config filter.secret.clean 'tr a-z n-za-m'
git config filter.secret.smudge 'tr a-z n-za-m'
for f in same mod mode gone staged both link2file a/b/deep c/one hosts/h.cue old/x racy time ign/tracked/t; do
	echo $f >$f
done
printf 'a\r\nb\r\n' >crlf.txt; printf 'a\r\nb\r\n' >crlf.bin; printf 'a\nb\n' >crlf.ini; echo '$Id$' >id
printf 'a\n' >'q uo.te'; printf 'a\r\n' >win.ini; printf 'a\r\n' >mixed; printf 'a\r\nb\r\n' >touched.txt
echo '$Id: 34 $' >sub.id; ln -s same l; ln -s same l2; mkdir crypt; echo secret >crypt/s; echo other >crypt/touched
printf odd >'back\slash'; printf odd >"$(printf 'inv\377alid')"; printf odd >'aux'; printf odd >'c:d'
printf odd >' lead'; printf odd >'ünï'; mkdir 'd ir'; printf odd >'d ir/.x'
printf odd >'new
line'
git add -A; git add -f ign/tracked/t; git -c core.safecrlf=false commit -qm x
echo new >mod; chmod +x mode; rm gone; echo new >staged; git add staged; echo new >both; git add both; echo newer >both
rm link2file; ln -s same link2file; rm l2; ln -s mod l2; rm -r old; touch time; echo add >intent; git add -N intent
git rm -q --cached c/one; echo ecar >racy; printf 'a\r\nb\r\n' >crlf.ini; printf 'a\nb\n' >crlf.txt
echo '$Id: 12 $' >id; printf 'a\r\n' >'q uo.te'; git update-index --assume-unchanged same; echo x >same
touch crypt/touched win.ini mixed sub.id touched.txt
mkdir -p dir/sub empty/empty ignonly out/x ign/new nodot/.git sub/out a/q/z
for f in un dir/sub/u ignonly/x.swp keep.swp x.swp y.local z~ out/x/u ign/new/u ign/tracked/u '#x' 1.tmp a.tmp a/q/z/u \
	sub/.gitignore sub/out/u hosts/new.cue 'sp '; do
	echo u >"$f"
done
mkfifo pipe
git init -q --template= nested
`

// merge leaves a conflict.
const merge = `
git init -q --template= -b main up; cd up
echo 1 >f; echo 1 >g; git add .; git commit -qm 1
git checkout -qb o; echo 2 >f; git commit -qam 2; git checkout -q main; echo 3 >f; git commit -qam 3; cd ..
git fetch -q ./up main:m o:o; git reset -q --hard m; git merge -q o || :
rm -rf up
`

// many are files enough to be worth a split index; change is done to them after one is made.
const (
	many = `
mkdir -p d s/t
for i in 1 2 3; do for j in 0 1 2 3 4 5 6 7 8 9; do echo $i >d/f$i$j; echo $j >f$i$j; done; done
echo 1 >s/1; echo 2 >s/t/2
git add .; git commit -qm x
`
	change = `
echo x >f11; git rm -q f12 d/f13; echo n >d/f00; git add d/f00; echo n >zz; echo w >d/f20; git add d/f20
`
	version4 = "git config index.version 4\n"
	split    = "git update-index --split-index\n"
)

func TestWhatIsNotCommittedIsWhatGitStatusNames(t *testing.T) {
	for name, commands := range map[string]string{
		"lines that end as on Windows": `git config core.autocrlf true
printf 'a\nb\n' >f; printf 'a\0\r\n' >g; git add .; git commit -qm x; printf 'a\r\nb\r\n' >f; printf 'a\0\n' >g`,
		"a merge that is not finished": merge,
		"a split index":                many + split + change,
		"a split index of version 4":   version4 + many + split + change,
		"an index of version 4":        version4 + many + change,
		"an untracked cache":           many + "git update-index --untracked-cache\n" + change,
		"a sparse checkout": many + `git sparse-checkout set --cone d
echo x >d/f11; mkdir f s; echo x >f31; echo x >s/1`,
		"a sparse index": many + "git sparse-checkout set --cone --sparse-index d; echo x >d/f11",
		"nothing: skipped on request": many + `git update-index --skip-worktree f11 f12
echo x >f11; rm f12`,
		"no commit yet": "echo x >x; echo y >y; git add x",
		"a submodule at another commit": `git init -q --template= s; git -C s commit -q --allow-empty -m 1; git add s
git commit -qm x; git -C s commit -q --allow-empty -m 2`,
		"a file where a directory was": many + `rm -r d f11; echo x >d; mkdir f11; echo x >f11/x; rm f12; mkdir f12`,
		"a link where a directory was": many + "mv d e; ln -s e d",
	} {
		t.Run(name, func(t *testing.T) { agree(t, script(t, commands), ".", strings.HasPrefix(name, "nothing")) })
	}
}

func TestEachStateOfAFileAndTheSettingsThatCountAreWhatGitSays(t *testing.T) {
	dir := script(t, everything+"echo 'u*' >.git/other\n")
	for _, c := range []struct{ folder, setting, value string }{
		{".", "", ""}, {"hosts", "", ""}, {"ign", "", ""},
		{".", "status.showUntrackedFiles", "all"},
		{".", "core.excludesFile", filepath.Join(dir, ".git", "other")},
		{".", "status.showUntrackedFiles", "no"},
		{".", "core.fileMode", "false"},
		{".", "core.autocrlf", "true"},
	} {
		if c.setting != "" {
			cmd := exec.Command("git", "config", c.setting, c.value)
			cmd.Dir = dir
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(c.folder+" "+c.setting, func(t *testing.T) { agree(t, dir, c.folder, c.folder == "ign") })
	}
}

// agree compares what this package and git say.
func agree(t *testing.T, dir, folder string, nothing bool) {
	t.Helper()
	got, want := ours(t, dir, folder), theirs(t, dir, folder)
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("git does not name %q", name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%q is not named", name)
		}
	}
	if (len(want) == 0) != nothing {
		t.Errorf("git names %q", want)
	}
}

func TestAnIndexThatIsDamagedIsSaidToBe(t *testing.T) {
	dir := script(t, "echo x >x; git add x; git commit -qm x; git update-index --split-index; echo y >y; git add y")
	file := filepath.Join(dir, ".git", "index")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gitdir.Open(dir, filepath.Join(dir, ".git"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 20 {
		if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Of(r, "."); err == nil {
			t.Errorf("the first %d bytes of an index pass for one", n)
		}
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	shared, _ := filepath.Glob(filepath.Join(dir, ".git", "sharedindex.*"))
	for _, name := range shared {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Of(r, "."); err == nil || !strings.Contains(err.Error(), "sharedindex") {
		t.Errorf("an index whose other half is not there: %v", err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00link\x00\x00\x00\x3412345678901234567890\x00\x00\x00\x01" +
		"\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, l, err := parseIndex(append(data, make([]byte, 20)...)) // without a checksum
		if err == nil && l != nil {
			_, _ = l.merge(t.TempDir(), entries)
		}
	})
}
