package reconcile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
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
		if err := source.CheckCommit(c.Start); err != nil {
			return false, fault.Hint(fmt.Errorf("--verify-commits=%.60s is neither head nor all, and as a commit: %w", c.Start,
				err), "a branch or tag would let whoever may push choose")
		}
	}
	return true, nil
}

// commitVerifier lets only commits through that are signed by those whom the operator named.
type commitVerifier struct {
	check    CommitCheck
	verifier *source.Verifier
	head     source.Signed
	log      io.Writer
}

// Verified is what the signatures on commits vouch for, as `reconcile --json` prints it.
type Verified struct {
	Since   string   `json:"since,omitempty"` // the commit that was published; empty: none was
	Commits int      `json:"commits"`
	Signers []string `json:"signers"`
}

// open verifies the head commit, before anything in its tree is looked at: the roots that tell what is published stand
// there too. It returns nil if commits are not to be verified.
func (c CommitCheck) open(head *desired.State, now time.Time, log io.Writer) (*commitVerifier, error) {
	if on, err := c.on(); !on || err != nil {
		return nil, err
	}
	signers, err := head.Repo.Signers(c.Allowed, c.Keyring)
	if err != nil {
		return nil, err
	}
	g := &commitVerifier{check: c, verifier: head.Repo.Verifier(signers, now), log: log}
	g.head, err = g.verifier.Commit(head.Commit())
	return g, err
}

// since verifies what lies between the published release and the head.
//
// Where nothing is published there is no such range. Its head vouches for the whole tree that is about to be
// published, so it is enough for that, and asking for more by default would keep out every repository that began to
// sign late. But a store is not trusted, and one that was emptied looks like a new one: "all", or the commit that the
// operator trusts, keeps unsigned commits from slipping in below a signed head then.
func (v *commitVerifier) since(state *publish.State) (*Verified, error) {
	base := ""
	if r := state.Release(); r != nil {
		base = r.Commit
	} else if state.Head() > 0 {
		console.Note(v.log, "the newest root no longer trusts the keys that signed what is published; "+
			"commits are verified as if nothing were")
	}
	done := &Verified{Since: base, Commits: 1, Signers: []string{v.head.Signer}}
	if base == "" && v.check.Start == StartHead {
		return done, nil
	}
	if base == "" && v.check.Start != StartAll {
		base = v.check.Start
	}
	signed, err := v.verifier.Since(base, v.head.Commit)
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

// Summary says it in a line.
func (v *Verified) Summary() string {
	since := ""
	if v.Since != "" {
		since = fmt.Sprintf(" since %.12s", v.Since)
	}
	return fmt.Sprintf("verified %s%s, signed by %s", console.Count(v.Commits, "commit"), since,
		strings.Join(v.Signers, ", "))
}
