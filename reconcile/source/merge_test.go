package source

import (
	"strings"
	"testing"

	"bakehouse/schema/fault"
)

// What a forge's buttons make, as the forge does it: a commit without a work tree, with the forge's own OpenPGP key,
// which vouches for whoever pressed, or without a signature. The signers are people with SSH keys.
func TestOnlyTheMergeOfASignedBranchThatIsUpToDateNeedsNoSignatureOfItsOwn(t *testing.T) {
	g := newGnuPG(t)
	g.key("forge", "never")
	r := newSignedRepo(t)
	r.allow(r.line("alice"), r.key("bob", `valid-before="20260305"`))
	button := func(signed bool, treeOf string, parents ...string) string {
		t.Helper()
		r.day = max(r.day, 8)
		args := []string{"-c", "gpg.format=openpgp", "-c", "user.signingKey=forge@example.com", "commit-tree",
			"-m", "By a button"}
		if signed {
			args = append(args, "-S")
		}
		for _, p := range parents {
			args = append(args, "-p", p)
		}
		return r.gitAs("forge", []string{"GNUPGHOME=" + g.home}, append(args, treeOf+"^{tree}")...)
	}
	on := func(parent, who string) string {
		r.git("checkout", "-q", "--detach", parent)
		return r.commit(who)
	}
	published := r.commit("alice")
	topic := on(published, "bob") // whose key ends before it is merged
	other := on(published, "alice")
	web := button(true, other, topic) // edited in the forge's pages
	onWeb := on(web, "alice")
	mallory := on(published, "mallory")
	plain, signed := button(false, topic, published, topic), button(true, topic, published, topic)

	verifies := func(what, head string, commits int, signer string) {
		t.Helper()
		all, err := r.verifier().Since(published, head)
		if err != nil || len(all) != commits || all[commits-1].Commit != head ||
			!strings.HasPrefix(all[commits-1].Signer, signer+"@example.com ") {
			t.Errorf("%s: %v, %v", what, all, err)
		}
		if s, err := r.verifier().Commit(head); err != nil || s != all[commits-1] {
			t.Errorf("%s, alone: %v, %v", what, s, err)
		}
	}
	verifies("a merge that nobody signed", plain, 2, "bob")
	verifies("a merge that the forge signed", signed, 2, "bob")
	next := on(signed, "alice")
	verifies("the merge after it", button(true, next, signed, next), 4, "alice")
	inner := button(true, next, topic, next) // a branch onto another one
	verifies("a merge of a merge", button(false, next, published, inner), 5, "alice")

	const forgeKey = "is signed by an OpenPGP key, and --keyring names no file"
	for what, c := range map[string]struct{ head, blamed, why string }{
		"squashed":              {button(true, topic, published), "", forgeKey},
		"rebased":               {button(false, topic, published), "", "is not signed"},
		"a branch out of date":  {button(true, other, signed, other), "", "second parent " + other[:12] + " does not"},
		"more than the branch":  {button(true, other, published, topic), "", "its files are not those of its second"},
		"a branch going back":   {button(true, published, signed, published), "", "does not descend from its first"},
		"parents the other way": {button(true, topic, topic, published), "", "does not descend from its first"},
		"three parents":         {button(false, topic, published, topic, other), "", "is not signed"},
		"nobody's branch":       {button(true, mallory, published, mallory), mallory, "is not signed"},
		"the forge's own edit":  {button(true, web, published, web), web, forgeKey},
		"on the forge's edit":   {button(true, onWeb, published, onWeb), web, forgeKey},
	} {
		_, err := r.verifier().Since(published, c.head)
		blamed := "commit " + c.head
		if c.blamed != "" {
			blamed = "commit " + c.blamed
		}
		if !fault.IsRefusal(err) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), c.why) ||
			strings.Count(err.Error(), blamed) != 1 || strings.Count(err.Error(), "committer") != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A key that has ended signs nothing more, whoever merges it.
	r.day = 9
	late := on(signed, "bob")
	if _, err := r.verifier().Since(published, button(true, late, signed, late)); !fault.IsRefusal(err) {
		t.Errorf("a branch of a key that has ended: %v", err)
	}
}
