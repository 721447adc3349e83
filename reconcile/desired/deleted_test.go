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
	if err == nil || !strings.Contains(err.Error(), "it was deleted") ||
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
