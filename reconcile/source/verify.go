package source

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Verifier checks that commits are signed by Signers. A commit is named by its hash and looked up by it: what refs,
// tags, replacements and grafts say changes nothing, and no work tree is looked at.
//
// A signature covers a commit's tree and its parents by hash, and who made it is told by its key:
//   - SSH: `git commit -S` with gpg.format=ssh. A line of the allowed signers must name the key, allow the namespace
//
// "git",
//
//	match the committer's address with its principals, and be valid at the commit's time. That is the committer's
//	date, as for git, but never earlier than that of a commit it descends from, or whoever holds a retired key could
//
// date
//
//	  its commits back. The hole that remains: on top of commits that are all older than the key's end. A key that was
//	  stolen, rather than retired, has to leave the file.
//	- OpenPGP: the key must be in the keyring and, as for gpg and git, not be expired or revoked now.
//
// A merge that a forge's button made needs no signature of its own if it only takes over what its second parent signed:
// see takesOver.
type Verifier struct {
	repo    *Repo
	signers *Signers
	now     time.Time
}

// Signed is a commit whose signature was found good.
type Signed struct {
	Commit string
	Signer string // an SSH key's principals and fingerprint, or an OpenPGP key's identity and fingerprint
}

// Verifier returns a Verifier that takes it to be now.
func (r *Repo) Verifier(s *Signers, now time.Time) *Verifier { return &Verifier{r, s, now} }

// Commit verifies one commit alone, named by 40 hex digits. A failure is a refusal.
func (v *Verifier) Commit(commit string) (Signed, error) {
	hash, err := parseHash(commit)
	if err != nil {
		return Signed{}, err
	}
	c, err := v.repo.load(hash)
	if err != nil {
		return Signed{}, err
	}
	return v.verify(c, v.at(c.Committer.When), nil)
}

// Since verifies every commit that head descends from (itself included) and base does not, over all parents of merges.
// Head must be base or descend from it. An empty base stands for the whole history. The commits come parents first; a
// failure is a refusal that names each commit that failed.
func (v *Verifier) Since(base, head string) ([]Signed, error) {
	w, err := v.repo.between(base, head)
	if err != nil {
		return nil, err
	}
	signed, err := v.all(w)
	if err != nil {
		// With clocks far apart the walk can take a commit below base for one above it, never the reverse.
		if err := w.finish(); err != nil {
			return nil, err
		}
		signed, err = v.all(w)
	}
	return signed, err
}

// maxNamed bounds how many refused commits one error names.
const maxNamed = 10

func (v *Verifier) all(w *walk) ([]Signed, error) {
	commits, err := w.commits()
	if err != nil {
		return nil, err
	}
	times := map[plumbing.Hash]time.Time{}
	var signed []Signed
	var refused []error
	for _, c := range commits {
		at := c.Committer.When
		for _, p := range c.ParentHashes {
			if t := w.when(p, times); t.After(at) {
				at = t
			}
		}
		times[c.Hash] = at
		s, err := v.verify(c, v.at(at), times)
		if err != nil {
			said := func(r error) bool { return r.Error() == err.Error() } // of the branch that this merges
			if !slices.ContainsFunc(refused, said) {
				refused = append(refused, err)
			}
			continue
		}
		signed = append(signed, s)
	}
	if n := len(refused); n > maxNamed {
		refused = append(refused[:maxNamed], fmt.Errorf("and %d more commits", n-maxNamed))
	}
	return signed, errors.Join(refused...)
}

// at keeps a key that will be valid some day from being used by a commit that is dated then.
func (v *Verifier) at(t time.Time) time.Time {
	if t.After(v.now) {
		return v.now
	}
	return t
}

// verify checks one commit, at being the instant at which it counts as signed, and times those of commits that it
// descends from, as far as they are known.
func (v *Verifier) verify(c *object.Commit, at time.Time, times map[plumbing.Hash]time.Time) (Signed, error) {
	who, err := v.signer(c, at)
	if err == nil {
		return Signed{Commit: c.Hash.String(), Signer: who}, nil
	}
	hint := "nothing was changed; what is not published yet can be rebased, each commit signed by someone who may sign"
	if len(c.ParentHashes) == 2 {
		head, why := v.takesOver(c)
		if why == nil {
			at, ok := times[head.Hash]
			if !ok {
				at = head.Committer.When
			}
			s, err := v.verify(head, v.at(at), times)
			return Signed{Commit: c.Hash.String(), Signer: s.Signer}, err
		}
		err = fmt.Errorf("%w, and it is more than the merge of a signed branch: %w", err, why)
		hint = "nothing was changed; let the forge merge only branches that are up to date, by a merge commit; what " +
			"is not published yet can be merged again, signed by someone who may sign"
	}
	return Signed{}, fault.Refuse(fmt.Errorf("commit %s (author %s, committer %s): %w", c.Hash, person(c.Author),
		person(c.Committer), err), "%s", hint)
}

// takesOver returns the second parent of a merge that adds nothing to it: that parent descends from the first one, and
// has the merge's tree. This is the merge of a branch that was up to date, as forges make it without the signature of
// anyone who may sign. Publishing it is publishing the branch's head, which is verified in its place, so that neither
// the forge nor its key decides what is published.
func (v *Verifier) takesOver(merge *object.Commit) (head *object.Commit, why error) {
	_, raw, err := readObject(v.repo.git.Objects, plumbing.CommitObject, merge.Hash)
	if err != nil {
		return nil, err
	}
	if err := checkOrder(raw); err != nil {
		return nil, err
	}
	base := merge.ParentHashes[0]
	if head, err = v.repo.load(merge.ParentHashes[1]); err != nil {
		return nil, fmt.Errorf("commit %s: %w", merge.ParentHashes[1], err)
	}
	current, err := v.repo.Contains(head.Hash.String(), base.String())
	switch {
	case err != nil:
		return nil, err
	case !current:
		return nil, fmt.Errorf("its second parent %.12s does not descend from its first, %.12s", head.Hash, base)
	case head.TreeHash != merge.TreeHash:
		return nil, fmt.Errorf("its files are not those of its second parent %.12s", head.Hash)
	}
	return head, nil
}

func person(s object.Signature) string { return fmt.Sprintf("%.100q", s.Name+" <"+s.Email+">") }

const (
	sshSignature = "SSH SIGNATURE"
	pgpSignature = "PGP SIGNATURE"

	// namespace keeps what an SSH key signed elsewhere, such as a file, from being taken for a commit's signature.
	namespace = "git"
)

func (v *Verifier) signer(c *object.Commit, at time.Time) (string, error) {
	if c.PGPSignature == "" {
		return "", errors.New("is not signed")
	}
	payload, err := v.repo.payload(c)
	if err != nil {
		return "", err
	}
	switch kind := armorKind(c.PGPSignature); kind {
	case sshSignature:
		if v.signers.ssh == nil {
			return "", errors.New("is signed by an SSH key, and --allowed-signers names no file")
		}
		return v.signers.ssh.verify(payload, c.PGPSignature, c.Committer.Email, at)
	case pgpSignature:
		if v.signers.pgp == nil {
			return "", errors.New("is signed by an OpenPGP key, and --keyring names no file")
		}
		return v.signers.pgp.verify(payload, c.PGPSignature, v.now)
	case "":
		return "", errors.New("has a signature that is not one block of SSH or OpenPGP")
	default:
		return "", fmt.Errorf("has a signature of a kind that is not supported: %.40q", kind)
	}
}

// namedKey is the key that a signature says it is by, empty if it is not legible. Nothing is verified.
func namedKey(signature string) string {
	switch armorKind(signature) {
	case sshSignature:
		if sig, err := sshsig.Unarmor([]byte(signature)); err == nil {
			return ssh.FingerprintSHA256(sig.PublicKey)
		}
	case pgpSignature:
		return pgpIssuer(signature)
	}
	return ""
}

// verify checks an SSH signature over payload, and returns who made it.
func (f *allowedSigners) verify(payload []byte, signature, principal string, at time.Time) (string, error) {
	sig, err := sshsig.Unarmor([]byte(signature))
	if err != nil {
		return "", fmt.Errorf("its SSH signature is damaged: %w", err)
	}
	line, err := f.permit(sig.PublicKey, principal, namespace, at)
	if err != nil {
		return "", err
	}
	if err := sshsig.Verify(bytes.NewReader(payload), sig, line.key, sig.HashAlgorithm, namespace); err != nil {
		return "", fmt.Errorf("its signature by the key of %s:%d does not fit it: %w", f.name, line.line, err)
	}
	return line.principals + " " + ssh.FingerprintSHA256(line.key), nil
}

// armorKind is X of a text that is exactly one block "-----BEGIN X-----" … "-----END X-----".
func armorKind(s string) string {
	s = strings.TrimSpace(s)
	kind, _, ok := strings.Cut(strings.TrimPrefix(s, "-----BEGIN "), "-----\n")
	if !ok || !strings.HasPrefix(s, "-----BEGIN ") || !strings.HasSuffix(s, "\n-----END "+kind+"-----") ||
		strings.Count(s, "-----BEGIN ") != 1 {
		return ""
	}
	return kind
}

// payload is what the signature of c is over: the commit object without its signature.
func (r *Repo) payload(c *object.Commit) ([]byte, error) {
	_, raw, err := readObject(r.git.Objects, plumbing.CommitObject, c.Hash)
	if err != nil {
		return nil, err
	}
	if err := checkHeaders(raw); err != nil {
		return nil, err
	}
	stripped := &plumbing.MemoryObject{}
	if err := c.EncodeWithoutSignature(stripped); err != nil {
		return nil, err
	}
	return content(stripped)
}

// checkHeaders refuses a commit object whose headers git would not write, or that has not one signature.
func checkHeaders(raw []byte) error {
	if err := checkOrder(raw); err != nil {
		return err
	}
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	signatures := 0
	for line := range bytes.Lines(head) {
		if bytes.HasPrefix(line, []byte("gpgsig")) {
			signatures++
		}
	}
	if signatures != 1 {
		return fmt.Errorf("has %d signatures", signatures)
	}
	return nil
}

// checkOrder refuses a commit object whose headers git would not write. The signature's place is not covered by the
// signature: put between the parents, it hides those below it from whoever reads headers in order.
func checkOrder(raw []byte) error {
	head, _, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return errors.New("has no end of headers")
	}
	lines := strings.Split(string(head), "\n")
	next := func(name string) bool {
		if len(lines) == 0 || !strings.HasPrefix(lines[0], name+" ") {
			return false
		}
		lines = lines[1:]
		return true
	}
	good := next("tree")
	for next("parent") {
	}
	good = good && next("author") && next("committer")
	for i, line := range lines {
		name, _, _ := strings.Cut(line, " ")
		if slices.Contains([]string{"tree", "parent", "author", "committer"}, name) || name == "" && i == 0 {
			good = false
		}
	}
	if !good {
		return errors.New("has headers in an order that git does not write, which can hide parents")
	}
	return nil
}
