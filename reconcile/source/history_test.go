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

func TestWhatABranchContainsIsWhatItDescendsFrom(t *testing.T) {
	dir, git := repo(t)
	commits := map[string]string{}
	commit := func(name string) {
		git("commit", "-qm", name, "--allow-empty")
		commits[name] = git("rev-parse", "HEAD")
	}
	commit("one")
	git("checkout", "-qb", "side")
	commit("side")
	git("checkout", "-q", "main")
	commit("two")
	git("merge", "-q", "--no-ff", "-m", "merge", "side")
	commits["merge"] = git("rev-parse", "HEAD")
	git("checkout", "-qb", "unmerged", commits["one"])
	commit("unmerged")
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		head, commit string
		want         bool
	}{
		{"merge", "merge", true}, {"merge", "one", true}, {"merge", "side", true}, {"merge", "two", true},
		{"two", "side", false}, {"one", "two", false}, {"merge", "unmerged", false}, {"unmerged", "merge", false},
	} {
		if got, err := r.Contains(commits[test.head], commits[test.commit]); err != nil || got != test.want {
			t.Errorf("%s contains %s: %t, %v", test.head, test.commit, got, err)
		}
	}
	for _, unknown := range []string{strings.Repeat("1", 40), "main", ""} {
		if got, err := r.Contains(commits["merge"], unknown); err == nil || got {
			t.Errorf("contains %q: %t, %v", unknown, got, err)
		}
	}
	between, err := r.Between(commits["one"], commits["merge"])
	if err != nil || len(between) != 3 || between[2] != commits["merge"] {
		t.Errorf("%q, %v", between, err)
	}
	if r.Shallow() {
		t.Error("a whole clone is shallow")
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
	if !r.Shallow() {
		t.Error("it is not shallow")
	}
	if ok, err := r.Contains(head.Commit, two.Commit); err != nil || !ok {
		t.Errorf("contains: %t, %v", ok, err)
	}
	if _, err := r.Contains(head.Commit, git("rev-parse", "HEAD~2")); err == nil {
		t.Error("what the clone lacks is told")
	}
	if list, err := r.Messages(two.Commit, head.Commit); err != nil || len(list) != 1 || strings.TrimSpace(list[0]) != "three" {
		t.Errorf("%q, %v", list, err)
	}
}
