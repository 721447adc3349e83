package source

import (
	"slices"
	"strings"
	"testing"

	"bakehouse/schema/fault"
)

func TestTheFirstParentOfAMergeIsTheBranchItWentTo(t *testing.T) {
	dir, git := repo(t)
	git("commit", "-qm", "one", "--allow-empty")
	git("checkout", "-qb", "side")
	git("commit", "-qm", "on the side", "--allow-empty")
	git("checkout", "-q", "main")
	git("commit", "-qm", "two", "--allow-empty")
	main := git("rev-parse", "HEAD")
	git("merge", "-q", "--no-ff", "-m", "merge", "side")
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	head, err := r.Revision("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if parent, err := r.Parent(head); err != nil || parent.Commit != main {
		t.Errorf("%+v, %v; want %s", parent, err, main)
	}
	first, err := r.Revision(git("rev-list", "--max-parents=0", "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	if parent, err := r.Parent(first); err != nil || parent != nil {
		t.Errorf("the first commit has the parent %+v, %v", parent, err)
	}

	messages := func(from string) []string {
		t.Helper()
		list, err := r.Messages(from, head.Commit)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		slices.Sort(list)
		return list
	}
	if got := messages(first.Commit); !slices.Equal(got, []string{"merge", "on the side", "two"}) {
		t.Errorf("since the first: %q", got)
	}
	if got := messages(main); !slices.Equal(got, []string{"merge", "on the side"}) {
		t.Errorf("since main: %q", got)
	}
	if got := messages(head.Commit); len(got) != 0 {
		t.Errorf("since itself: %q", got)
	}
	for _, unknown := range []string{"", strings.Repeat("1", 40)} {
		if got := messages(unknown); !slices.Equal(got, []string{"merge"}) {
			t.Errorf("since %q: %q", unknown, got)
		}
	}
}

func TestHistoryEndsWhereAShallowCloneEnds(t *testing.T) {
	dir, git := repo(t)
	for _, m := range []string{"one", "two", "three"} {
		git("commit", "-qm", m, "--allow-empty")
	}
	to := t.TempDir()
	git("clone", "-q", "--depth", "2", "file://"+dir, to)
	r, err := Open(to)
	if err != nil {
		t.Fatal(err)
	}
	head, err := r.Revision("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	two, err := r.Parent(head)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Parent(two); err == nil || fault.HintOf(err) == "" {
		t.Errorf("the parent beyond the clone: %v", err)
	}
	if list, err := r.Messages(two.Commit, head.Commit); err != nil || len(list) != 1 || strings.TrimSpace(list[0]) != "three" {
		t.Errorf("%q, %v", list, err)
	}
}
