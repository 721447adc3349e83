package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema/fault"
)

// CommitCheck is the operator's demand that commits be signed.
type CommitCheck struct {
	Start            string // where to begin if nothing is published: "head", "all" or a commit
	Allowed, Keyring string // files
}

// Where verification begins if nothing is published.
const (
	StartHead = "head"
	StartAll  = "all"
)

// on reports whether commits are to be verified, and completes c. Settings files and the environment say "true" or
// "false" where the command line has a bare flag or none.
func (c *CommitCheck) on() (bool, error) {
	named := c.Allowed != "" || c.Keyring != ""
	switch c.Start {
	case "false":
		if named {
			return false, fault.Hint(errors.New("--verify-commits=false contradicts --allowed-signers and --keyring"),
				"leave one of them out")
		}
		return false, nil
	case "":
		c.Start = StartHead
		return named, nil
	case "true":
		c.Start = StartHead
	case StartHead, StartAll:
	default:
		if err := CheckCommit(c.Start); err != nil {
			return false, fault.Hint(
				fmt.Errorf("--verify-commits=%.60s is neither head nor all, and as a commit: %w", c.Start, err),
				"a branch or tag would let whoever may push choose")
		}
	}
	return true, nil
}

// CommitVerifier lets only commits through that are signed by those whom the operator named.
type CommitVerifier struct {
	Check CommitCheck
	Head  Signed

	verifier *Verifier
}

// Verified is what the signatures on commits vouch for, as `reconcile --json` prints it.
type Verified struct {
	Since   string   `json:"since,omitempty"` // the commit that was published; empty: none was
	Commits int      `json:"commits"`
	Signers []string `json:"signers"`
}

// Open verifies the head commit, before anything in its tree is looked at: the roots that tell what is published are
// there too. It returns nil if commits are not to be verified.
func (c CommitCheck) Open(repo *Repo, head string, now time.Time) (*CommitVerifier, error) {
	if on, err := c.on(); !on || err != nil {
		return nil, err
	}
	signers, err := repo.Signers(c.Allowed, c.Keyring)
	if err != nil {
		return nil, err
	}
	v := &CommitVerifier{Check: c, verifier: repo.Verifier(signers, now)}
	v.Head, err = v.verifier.Commit(head)
	return v, err
}

// Since verifies what is between the published commit (empty: none) and the head.
//
// Where nothing is published there is no such range. Its head vouches for the whole tree that is about to be
// published, so it is enough for that, and asking for more by default would keep out every repository that began to
// sign late. But a store is not trusted, and one that was emptied looks like a new one: "all", or the commit that the
// operator trusts, keeps unsigned commits from slipping in below a signed head then.
func (v *CommitVerifier) Since(published string) (*Verified, error) {
	done := &Verified{Since: published, Commits: 1, Signers: []string{v.Head.Signer}}
	base := published
	if base == "" && v.Check.Start == StartHead {
		return done, nil
	}
	if base == "" && v.Check.Start != StartAll {
		base = v.Check.Start
	}
	signed, err := v.verifier.Since(base, v.Head.Commit)
	if err != nil || len(signed) == 0 {
		return done, err
	}
	done.Commits, done.Signers = len(signed), nil
	for _, s := range signed {
		done.Signers = append(done.Signers, s.Signer)
	}
	slices.Sort(done.Signers)
	done.Signers = slices.Compact(done.Signers)
	return done, nil
}

// Between verifies one commit and, if it descends from an earlier one, what is between them.
func (v *CommitVerifier) Between(base, commit string) error {
	if _, err := v.verifier.Commit(commit); err != nil || base == "" || base == commit {
		return err
	}
	_, err := v.verifier.Since(base, commit)
	return err
}

// Summary says it in a line.
func (v *Verified) Summary() string {
	since := ""
	if v.Since != "" {
		since = fmt.Sprintf(" since %.12s", v.Since)
	}
	commits := "commits"
	if v.Commits == 1 {
		commits = "commit"
	}
	return fmt.Sprintf("verified %d %s%s, signed by %s", v.Commits, commits, since, strings.Join(v.Signers, ", "))
}
