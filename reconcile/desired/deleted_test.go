package desired

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func TestWhatACommitDeletesOfTrustIsSaidAndNeverToBeMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-euc", `git init -q --template= -b main .; mkdir -p hosts trust
printf 'package fleet\nname: "f"\nurl: "https://a.example"\n' >fleet.cue; echo 'package fleet' >rollout.cue
echo '{}' >trust/1.root.json; git add .; git commit -qm 1
git rm -q rollout.cue trust/1.root.json; git commit -qm 2
printf 'package hosts\n<<<<<<< ours\nhosts: a: {}\n=======\nhosts: b: {}\n>>>>>>> theirs\n' >hosts/h.cue
git add .; git commit -qm 3
`)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, err := Anchor(Where{Repo: filepath.Join(dir, "hosts"), Ref: "main"})
	if err == nil || !strings.Contains(err.Error(), " deleted trust/1.root.json") ||
		!strings.HasPrefix(fault.HintOf(err), "restore it") {
		t.Errorf("%v; %s", err, fault.HintOf(err))
	}
	say := func(ref string) string {
		repo, err := source.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pin(repo, ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Diagnose(t.Context(), schema.KeyExpiry{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, found := range d.Diagnostics {
			b.WriteString(found.Level + " " + found.Error() + "\n")
		}
		return b.String()
	}
	got := say("HEAD~1")
	for _, want := range []string{"rollout.cue: deleted in this commit", "trust/1.root.json: deleted in this commit"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got = say("HEAD"); !strings.Contains(got, "hosts/h.cue:2:1: a merge conflict is not resolved") {
		t.Errorf("a merge conflict: %s", got)
	}
}

// Where a fleet had what it lacks, no hint leads to another root or key: hosts accept neither.
func TestWhatAFleetHadIsToBeRestoredAndNotMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-euc", `git init -q --template= -b main .; mkdir hosts keys trust
printf 'package fleet\nname: "f"\nurl: "https://a.example"\n' >fleet.cue; echo '{}' >trust/1.root.json
printf 'package hosts\nhosts: a: {platform: "linux/amd64", format: "deb"}\n' >hosts/h.cue
echo 'package keys' >keys/release.cue; git add .; git commit -qm 1
git rm -qr trust keys; git commit -qm 2; git commit -q --allow-empty -m 3
git rm -q fleet.cue; git commit -qm 4; git reset -q --hard HEAD~1
`)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, where := range []Where{{Repo: dir, Ref: "main"}, {Repo: dir, Worktree: true}} {
		s, err := At(t.Context(), where, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, p := range s.Resolved.Missing {
			found[p.Pos.File] = p.Msg + "; " + p.Hint
		}
		for file, path := range map[string]string{"trust": "trust/1.root.json", "keys": "keys/release.cue"} {
			if got := found[file]; !strings.Contains(got, " deleted "+path+"; restore it, ") ||
				!strings.HasSuffix(got, " -- "+path) {
				t.Errorf("%v: %s: %s", where, file, got)
			}
		}
		d, err := s.Diagnose(t.Context(), schema.KeyExpiry{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range d.Diagnostics {
			if strings.Contains(found.Hint, "root init") || strings.Contains(found.Hint, "key create") {
				t.Errorf("%v: %v; %s", where, found, found.Hint)
			}
		}
	}
	if err := os.Remove(filepath.Join(dir, "fleet.cue")); err != nil {
		t.Fatal(err)
	}
	commit, err := exec.Command("git", "-C", dir, "rev-parse", "ORIG_HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []Where{{Repo: dir, Ref: strings.TrimSpace(string(commit))}, {Repo: dir, Worktree: true}} {
		_, err := At(t.Context(), where, nil)
		if err == nil || !strings.Contains(err.Error(), " has no fleet.cue: commit ") ||
			!strings.Contains(fault.HintOf(err), "restore it: git checkout ") {
			t.Errorf("%v: %v; %s", where, err, fault.HintOf(err))
		}
	}
}
