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

	"github.com/spf13/cobra"
)

// commitCheck is the operator's demand that commits be signed.
type commitCheck struct {
	start            string // where to begin if nothing is published: "head", "all" or a commit
	allowed, keyring string // files
}

const (
	startHead = "head"
	startAll  = "all"
)

func (c *commitCheck) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.start, "verify-commits", "", "publish nothing unless every commit since the last published one is signed by someone who may sign; "+
		"if nothing is published yet, begin with the head itself, with \"all\" its history or after a COMMIT (40 hex digits)")
	f.Lookup("verify-commits").NoOptDefVal = startHead
	f.StringVar(&c.allowed, "allowed-signers", "", "verify commits: file of the SSH keys that may sign, as for ssh-keygen; it may not lie in the repository")
	f.StringVar(&c.keyring, "keyring", "", "verify commits: file of the OpenPGP keys that may sign, as gpg exports them; it may not lie in the repository")
}

// on reports whether commits are to be verified, and completes c. Settings files and the environment say "true" or "false"
// where the command line has a bare flag or none.
func (c *commitCheck) on() (bool, error) {
	named := c.allowed != "" || c.keyring != ""
	switch c.start {
	case "false":
		if named {
			return false, fault.Hint(errors.New("--verify-commits=false contradicts --allowed-signers and --keyring"), "leave one of them out")
		}
		return false, nil
	case "":
		c.start = startHead
		return named, nil
	case "true":
		c.start = startHead
	case startHead, startAll:
	default:
		if err := source.CheckCommit(c.start); err != nil {
			return false, fault.Hint(fmt.Errorf("--verify-commits=%.60s is neither head nor all, and as a commit: %w", c.start, err), "a branch or tag would let whoever may push choose")
		}
	}
	return true, nil
}

// gate lets only commits through that are signed by those whom the operator named.
type gate struct {
	check    commitCheck
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
func (c commitCheck) open(head *desired.State, now time.Time, log io.Writer) (*gate, error) {
	if on, err := c.on(); !on || err != nil {
		return nil, err
	}
	signers, err := head.Repo.Signers(c.allowed, c.keyring)
	if err != nil {
		return nil, err
	}
	g := &gate{check: c, verifier: head.Repo.Verifier(signers, now), log: log}
	g.head, err = g.verifier.Commit(head.Commit())
	return g, err
}

// since verifies what lies between the published release and the head.
//
// Where nothing is published there is no such range. Its head vouches for the whole tree that is about to be published, so
// it is enough for that, and asking for more by default would keep out every repository that began to sign late. But a
// store is not trusted, and one that was emptied looks like a new one: "all", or the commit that the operator trusts, keeps
// unsigned commits from slipping in below a signed head then.
func (g *gate) since(state *publish.State) (*Verified, error) {
	base := ""
	if r := state.Release(); r != nil {
		base = r.Commit
	} else if state.Head() > 0 {
		fmt.Fprintln(g.log, "bakehouse: note: the newest root no longer trusts the keys that signed what is published; commits are verified as if nothing were")
	}
	v := &Verified{Since: base, Commits: 1, Signers: []string{g.head.Signer}}
	if base == "" && g.check.start == startHead {
		return v, nil
	}
	if base == "" && g.check.start != startAll {
		base = g.check.start
	}
	signed, err := g.verifier.Since(base, g.head.Commit)
	if err != nil || len(signed) == 0 {
		return v, err
	}
	v.Commits, v.Signers = len(signed), nil
	for _, s := range signed {
		v.Signers = append(v.Signers, s.Signer)
	}
	slices.Sort(v.Signers)
	v.Signers = slices.Compact(v.Signers)
	return v, nil
}

// tell says it in a line.
func (v *Verified) tell() string {
	since := ""
	if v.Since != "" {
		since = fmt.Sprintf(" since %.12s", v.Since)
	}
	return fmt.Sprintf("verified %s%s, signed by %s", console.Count(v.Commits, "commit"), since, strings.Join(v.Signers, ", "))
}
