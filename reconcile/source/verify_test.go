package source

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
)

// today is the tests' present; their commits are made in the days before.
var today = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// signedRepo is a repository whose commits the real git signs with real keys.
type signedRepo struct {
	t    *testing.T
	dir  string
	keys string // folder of private keys and allowed_signers, outside the repository
	day  int    // of the next commit, in March 2026
}

func newSignedRepo(t *testing.T) *signedRepo {
	t.Helper()
	needs.Tool(t, "ssh-keygen")
	r := &signedRepo{t: t, dir: t.TempDir(), keys: t.TempDir(), day: 1}
	r.git("init", "-q", "-b", "main")
	r.allow(r.key("alice"))
	return r
}

func (r *signedRepo) git(args ...string) string {
	r.t.Helper()
	return r.gitAs("alice", nil, args...)
}

// gitAs runs git in the name of a person, on the current day.
func (r *signedRepo) gitAs(who string, env []string, args ...string) string {
	r.t.Helper()
	out, err := r.tryGit(who, env, args...)
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func (r *signedRepo) tryGit(who string, env []string, args ...string) (string, error) {
	at := fmt.Sprintf("2026-03-%02dT12:00:00Z", r.day)
	cmd := exec.Command("git", append([]string{
		"-c", "gpg.format=ssh", "-c", "user.signingKey=" + filepath.Join(r.keys, who),
		"-c", "gpg.ssh.allowedSignersFile=" + filepath.Join(r.keys, "allowed")}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "TZ=UTC",
		"GIT_AUTHOR_NAME="+who, "GIT_AUTHOR_EMAIL="+who+"@example.com", "GIT_AUTHOR_DATE="+at,
		"GIT_COMMITTER_NAME="+who, "GIT_COMMITTER_EMAIL="+who+"@example.com", "GIT_COMMITTER_DATE="+at), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// key makes a key for a person and returns its line for the allowed signers.
func (r *signedRepo) key(who string, options ...string) string {
	r.t.Helper()
	file := filepath.Join(r.keys, who)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f",
		file).CombinedOutput(); err != nil {
		r.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return r.line(who, options...)
}

func (r *signedRepo) line(who string, options ...string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.keys, who+".pub"))
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Join(append(append([]string{who + "@example.com"}, options...), string(b)), " ")
}

// allow makes lines the whole list of allowed signers.
func (r *signedRepo) allow(lines ...string) {
	r.t.Helper()
	write(r.t, r.keys, "allowed", strings.Join(lines, ""))
}

// commit makes a commit a day after the last, signed if who has a key, and returns its hash.
func (r *signedRepo) commit(who string, args ...string) string {
	r.t.Helper()
	r.day++
	sign := "-S"
	if who == "mallory" {
		sign = "--no-gpg-sign"
	}
	write(r.t, r.dir, "day", fmt.Sprint(r.day, who, args))
	r.git("add", "-A")
	r.gitAs(who, nil, append([]string{"commit", "-q", sign, "-m", fmt.Sprintf("day %d by %s", r.day, who)}, args...)...)
	return r.git("rev-parse", "HEAD")
}

func (r *signedRepo) verifier() *Verifier {
	r.t.Helper()
	repo, err := Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := repo.Signers(filepath.Join(r.keys, "allowed"), "")
	if err != nil {
		r.t.Fatal(err)
	}
	return repo.Verifier(s, today)
}

func (r *signedRepo) head() string { r.t.Helper(); return r.git("rev-parse", "HEAD") }

// passes wants the range to verify, and git to agree on each commit.
func (r *signedRepo) passes(base string, commits int) []Signed {
	r.t.Helper()
	signed, err := r.verifier().Since(base, r.head())
	if err != nil || len(signed) != commits {
		r.t.Fatalf("%d commits verified, not %d; error: %v", len(signed), commits, err)
	}
	for _, s := range signed {
		if out, err := r.tryGit("alice", nil, "verify-commit", s.Commit); err != nil {
			r.t.Errorf("git does not verify %s: %s", s.Commit, out)
		}
	}
	return signed
}

// refused wants the range refused for a commit and a reason.
func (r *signedRepo) refused(base, commit, reason string) {
	r.t.Helper()
	_, err := r.verifier().Since(base, r.head())
	if !fault.IsRefusal(err) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), reason) ||
		!strings.Contains(err.Error(), commit) {
		r.t.Errorf("error %v (hint %q), want commit %s refused because it %q", err, fault.HintOf(err), commit, reason)
	}
}

// gitRefuses wants git's own verdict on a commit to be no.
func (r *signedRepo) gitRefuses(commit string) {
	r.t.Helper()
	if out, err := r.tryGit("alice", nil, "verify-commit", commit); err == nil {
		r.t.Errorf("git verifies %s: %s", commit, out)
	}
}

func TestEveryCommitSinceThePublishedOneIsVerifiedOverAllParentsOfAMerge(t *testing.T) {
	r := newSignedRepo(t)
	r.allow(r.line("alice"), r.key("bob"))
	r.commit("mallory") // before what is published, so not looked at
	base := r.commit("alice")
	r.git("checkout", "-q", "-b", "topic")
	topic := r.commit("bob")
	r.git("checkout", "-q", "main")
	main := r.commit("alice")
	r.day++
	r.git("merge", "-q", "-S", "--no-ff", "-X", "ours", "-m", "merge", "topic")
	signed := r.passes(base, 3)
	if signed[2].Commit != r.head() || !strings.Contains(fmt.Sprint(signed), topic) ||
		!strings.Contains(fmt.Sprint(signed), main) {
		t.Errorf("verified %v", signed)
	}
	if repo, err := Open(r.dir); err != nil {
		t.Error(err)
	} else if rev, err := repo.Revision(r.head()); err != nil || !strings.HasPrefix(rev.Key, "SHA256:") ||
		!strings.Contains(signed[2].Signer, rev.Key) || !strings.Contains(rev.Author, "<alice@") {
		t.Errorf("the revision names the key %q and the author %q, it is signed by %q", rev.Key, rev.Author,
			signed[2].Signer)
	}
	r.passes(topic, 2)
	r.passes(r.head(), 0)
	r.refused("", "", "is not signed")

	r.git("checkout", "-q", "topic")
	bad := r.commit("mallory")
	r.git("checkout", "-q", "main")
	r.day++
	r.git("merge", "-q", "-S", "--no-ff", "-X", "ours", "-m", "merge again", "topic")
	r.refused(base, bad, "is not signed")
}

func TestAnUnsignedCommitInTheMiddleIsRefusedAndAuthorAndCommitterNamed(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	bad := r.commit("mallory", "--author", "Eve <eve@example.com>")
	r.commit("alice")
	r.refused(base, bad, "is not signed")
	r.refused(base, bad, `author "Eve <eve@example.com>", committer "mallory <mallory@example.com>"`)
	r.gitRefuses(bad)
	if _, err := r.verifier().Commit(r.head()); err != nil {
		t.Errorf("the head alone: %v", err)
	}
}

func TestACommitByASignerWhoWasRemovedIsRefused(t *testing.T) {
	r := newSignedRepo(t)
	r.allow(r.line("alice"), r.key("bob"))
	base := r.commit("alice")
	bad := r.commit("bob")
	r.commit("alice")
	r.passes(base, 2)
	r.allow(r.line("alice"))
	r.refused(base, bad, "is not in ")
	r.gitRefuses(bad)
}

func TestASignerAllowedOnlyInAnotherNamespaceIsRefused(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	r.allow(r.line("alice", `namespaces="file,mail"`))
	bad := r.commit("alice")
	r.refused(base, bad, `may sign in the namespaces "file,mail", not in "git"`)
	r.gitRefuses(bad)
	r.allow(r.line("alice", `namespaces="file,g*"`))
	r.passes(base, 1)
}

func TestASignatureMadeInAnotherNamespaceIsRefused(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	payload := r.git("cat-file", "commit", r.commit("mallory")) + "\n"
	payload = strings.Replace(payload, "committer mallory <mallory@", "committer alice <alice@", 1)
	for space, reason := range map[string]string{"file": "namespace does not match", "git": ""} {
		bad := r.graft(payload, r.sign(payload, "alice", space))
		r.git("reset", "-q", "--hard", bad)
		if reason == "" {
			r.passes(base, 1)
			continue
		}
		r.refused(base, bad, reason)
		r.gitRefuses(bad)
	}
}

// sign returns the signature that ssh-keygen makes over payload.
func (r *signedRepo) sign(payload, who, space string) string {
	r.t.Helper()
	cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", space, "-f", filepath.Join(r.keys, who))
	cmd.Stdin = strings.NewReader(payload)
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// graft stores a commit object of a payload and a signature, as `git commit` does.
func (r *signedRepo) graft(payload, signature string) string {
	r.t.Helper()
	head, body, _ := strings.Cut(payload, "\n\n")
	return r.object(head + "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(signature), "\n", "\n ") + "\n\n" + body)
}

func (r *signedRepo) object(raw string) string {
	r.t.Helper()
	cmd := exec.Command("git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(raw)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// split returns a commit's payload and its signature's header.
func (r *signedRepo) split(commit string) (payload, header string) {
	r.t.Helper()
	raw := r.git("cat-file", "commit", commit) + "\n"
	at := strings.Index(raw, "gpgsig ")
	end := at + strings.Index(raw[at:], "-----END SSH SIGNATURE-----\n") + len("-----END SSH SIGNATURE-----\n")
	return raw[:at] + raw[end:], raw[at:end]
}

func TestTheSignatureOfAnotherCommitGraftedOnIsRefused(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	_, header := r.split(base)
	payload := strings.Replace(r.git("cat-file", "commit", r.commit("mallory")), "committer mallory <mallory@",
		"committer alice <alice@", 1) + "\n"
	bad := r.object(strings.Replace(payload, "\n\n", "\n"+header+"\n", 1))
	r.git("reset", "-q", "--hard", bad)
	r.refused(base, bad, "does not fit it")
	r.gitRefuses(bad)
}

func TestASignatureMovedBetweenTheParentsHidesNoParent(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	r.git("checkout", "-q", "-b", "topic")
	bad := r.commit("mallory")
	r.git("checkout", "-q", "main")
	r.commit("alice")
	r.day++
	r.git("merge", "-q", "-S", "--no-ff", "-X", "ours", "-m", "merge", "topic")
	r.refused(base, bad, "is not signed")

	payload, header := r.split(r.head())
	at := strings.LastIndex(payload, "parent ")
	moved := r.object(payload[:at] + header + payload[at:])
	r.git("update-ref", "refs/heads/main", moved)
	r.refused(base, moved, "hide parents")
}

func TestTwoSignaturesOnACommitAreRefused(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	payload, header := r.split(r.commit("alice"))
	twice := r.object(strings.Replace(payload, "\n\n", "\n"+header+header+"\n", 1))
	r.git("reset", "-q", "--hard", twice)
	r.refused(base, twice, "has 2 signatures")
	more := r.object(strings.Replace(payload, "\n\n", "\n"+strings.TrimSuffix(header, "\n")+"\n x\n\n", 1))
	r.git("reset", "-q", "--hard", more)
	r.refused(base, more, "not one block")
}

func TestARetiredKeySignsNothingAfterItsEndNotEvenWithAnEarlierDate(t *testing.T) {
	r := newSignedRepo(t)
	r.allow(r.line("alice"), r.key("bob", `valid-before="20260304000000Z"`))
	base := r.commit("alice") // 2 March
	r.commit("bob")           // 3 March
	r.passes(base, 1)
	late := r.commit("bob") // 4 March, noon
	r.refused(base, late, "was valid until 2026-03-04T00:00:00Z, and it signed at 2026-03-04T12:00:00Z")
	r.gitRefuses(late)

	r.git("reset", "-q", "--hard", base)
	r.day = 5
	r.commit("alice")
	r.day = 1
	backdated := r.commit("bob") // says 2 March, and stands on 6 March
	r.refused(base, backdated, "signed at 2026-03-06T12:00:00Z")
}

func TestAKeyThatIsNotValidYetSignsNothingNotEvenWithALaterDate(t *testing.T) {
	r := newSignedRepo(t)
	r.allow(r.line("alice"), r.key("bob", `valid-after="20260320Z"`))
	base := r.commit("alice")
	early := r.commit("bob")
	r.refused(base, early, "is valid after 2026-03-20T00:00:00Z")
	r.gitRefuses(early)
	r.git("reset", "-q", "--hard", base)
	r.day = 24
	future := r.commit("bob")
	r.refused(base, future, "it signed at 2026-03-10T12:00:00Z")
}

func TestASignerMaySignOnlyAsThePrincipalsOfTheLine(t *testing.T) {
	r := newSignedRepo(t)
	bob := strings.TrimPrefix(r.key("bob"), "bob@example.com ")
	base := r.commit("alice")
	r.allow(r.line("alice"), "!root@example.com,*@example.com "+bob)
	r.commit("bob")
	r.passes(base, 1)
	r.day++
	r.gitAs("bob", []string{"GIT_COMMITTER_EMAIL=root@example.com"}, "commit", "-q", "-S", "--allow-empty", "-m",
		"as root")
	r.refused(base, r.head(), `may sign as "!root@example.com,*@example.com", not as "root@example.com"`)
}

func TestAHistoryThatWasRewrittenIsRefused(t *testing.T) {
	r := newSignedRepo(t)
	first := r.commit("alice")
	published := r.commit("alice")
	r.git("reset", "-q", "--hard", first)
	r.refused(published, published, "is older than commit")
	r.commit("alice")
	r.refused(published, published, "history was rewritten")
	r.git("checkout", "-q", "--orphan", "elsewhere")
	r.commit("alice")
	r.refused(published, published, "history was rewritten")
}

func TestAShallowCloneThatLacksThePublishedCommitSaysSo(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	r.commit("alice")
	r.commit("alice")
	clone := filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth", "2", "file://"+r.dir, clone)
	whole := r.dir
	r.dir = clone
	_, err := r.verifier().Since(base, r.head())
	if !fault.IsRefusal(err) || !strings.Contains(err.Error(), base) || !strings.Contains(err.Error(), "shallow") ||
		!strings.Contains(fault.HintOf(err), "fetch-depth: 0") {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	if _, err := r.verifier().Since("", r.head()); !fault.IsRefusal(err) || !strings.Contains(err.Error(), "shallow") {
		t.Errorf("whole history: %v", err)
	}
	// The published commit is there and so is every one since: what lies below does not matter.
	r.passes(r.git("rev-parse", "HEAD~1"), 1)

	// A merge brings a branch in that forked below the cut.
	r.dir = whole
	r.git("checkout", "-q", "-b", "old", base)
	r.commit("alice")
	r.git("checkout", "-q", "main")
	cut := r.head()
	r.day++
	r.git("merge", "-q", "-S", "--no-ff", "-X", "ours", "-m", "merge", "old")
	r.passes(cut, 2)
	clone = filepath.Join(t.TempDir(), "clone")
	r.git("clone", "-q", "--depth", "2", "file://"+r.dir, clone)
	r.dir = clone
	if signed, err := r.verifier().Since(cut, r.head()); !fault.IsRefusal(err) ||
		!strings.Contains(fault.HintOf(err), "fetch-depth: 0") {
		t.Errorf("verified %v, error %v", signed, err)
	}
}

func TestRefsTagsReplacementsAndSwappedObjectsDoNotStandInForACommit(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	good := r.commit("alice")
	r.git("reset", "-q", "--hard", base)
	bad := r.commit("mallory")
	// A signed tag on an unsigned commit, and refs that are named after the commits that would pass.
	r.git("tag", "-s", "-m", "signed", "v1")
	for _, name := range []string{"refs/tags/" + bad, "refs/heads/" + bad, "refs/heads/" + base, "refs/tags/main"} {
		r.git("update-ref", name, good)
	}
	r.git("update-ref", "refs/tags/"+base, bad)
	r.refused(base, bad, "is not signed")
	if rev, err := r.verifier().repo.Revision("v1"); err != nil || rev.Commit != bad {
		t.Errorf("v1 is %+v, %v", rev, err)
	}
	if _, err := r.verifier().Since("main", bad); err == nil || !strings.Contains(err.Error(), "40 hex digits") {
		t.Errorf("a ref as base: %v", err)
	}
	if _, err := r.verifier().Since(base[:12], bad); err == nil || !strings.Contains(err.Error(), "40 hex digits") {
		t.Errorf("a short base: %v", err)
	}
	// git shows the signed commit in place of the unsigned one.
	r.git("replace", bad, good)
	r.refused(base, bad, "is not signed")
	r.git("replace", "-d", bad)
	write(t, r.dir, ".git/info/grafts", bad+"\n")
	r.refused(base, bad, "is not signed")
	// The signed commit's object file under the unsigned one's name.
	object := func(hash string) string { return filepath.Join(r.dir, ".git/objects", hash[:2], hash[2:]) }
	if err := os.Remove(object(bad)); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(object(good), object(bad)); err != nil {
		t.Fatal(err)
	}
	r.refused(base, bad, "other bytes under this name")
}

func TestAMergeOfASignedTagAndOddMessagesVerifyAsInGit(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	r.git("checkout", "-q", "-b", "topic")
	r.commit("alice")
	r.git("tag", "-s", "-m", "signed", "v1")
	r.git("checkout", "-q", "main")
	r.day++
	r.git("merge", "-q", "-S", "--no-ff", "-m", "merge", "v1") // carries a mergetag header
	r.git("commit", "-q", "-S", "--allow-empty", "--allow-empty-message", "-m", "")
	r.git("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "-S", "--allow-empty", "-m", "caf\xe9")
	r.git("commit", "-q", "-S", "--allow-empty", "--cleanup=verbatim", "-m",
		"gpgsig no header\n\n\n-----BEGIN PGP SIGNATURE-----\n")
	r.passes(base, 5)
	r.git("gc", "-q")
	r.passes(base, 5)
}

func TestASignatureOfAKindThatCannotBeCheckedIsRefused(t *testing.T) {
	r := newSignedRepo(t)
	base := r.commit("alice")
	payload := r.git("cat-file", "commit", r.commit("mallory")) + "\n"
	for signature, reason := range map[string]string{
		"-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----": "not supported",
		"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----": "--keyring names no file",
		"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----":   "damaged",
		"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----":   "not one block",
		"trust me": "not one block",
	} {
		bad := r.graft(payload, signature)
		r.git("reset", "-q", "--hard", bad)
		r.refused(base, bad, reason)
	}
}

func TestClocksFarApartChangeNoVerdict(t *testing.T) {
	r := newSignedRepo(t)
	r.commit("mallory")
	r.day = 8
	old := r.commit("mallory")
	r.day = 1
	published := r.commit("alice") // seems older than what it descends from
	r.git("checkout", "-q", "-b", "topic", old)
	r.commit("alice")
	r.git("checkout", "-q", "main")
	r.day++
	r.git("merge", "-q", "-S", "--no-ff", "-X", "ours", "-m", "merge", "topic")
	r.passes(published, 2)
}

func TestAllowedSignersThatTheRepositoryCouldSupplyAreRefused(t *testing.T) {
	r := newSignedRepo(t)
	r.commit("alice")
	write(t, r.dir, "ops/signers", r.line("alice"))
	write(t, r.dir, ".git/signers", r.line("alice"))
	outside := t.TempDir()
	write(t, outside, "signers", r.line("alice"))
	link := func(to, from string) string {
		t.Helper()
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
		return from
	}
	linked := filepath.Join(t.TempDir(), "linked")
	r.git("worktree", "add", "-q", linked, "-b", "other")
	write(t, linked, "signers", r.line("alice"))
	repo, err := Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	chain := link(link(filepath.Join(outside, "signers"), filepath.Join(r.dir, "chain")), filepath.Join(outside, "chain"))
	for name, file := range map[string]string{
		"in the work tree":     filepath.Join(r.dir, "ops/signers"),
		"in the git directory": filepath.Join(r.dir, ".git/signers"),
		"in another work tree": filepath.Join(linked, "signers"),
		"through a link to it": link(filepath.Join(r.dir, "ops/signers"), filepath.Join(outside, "a")),
		"through a linked directory": filepath.Join(link(filepath.Join(r.dir, "ops"),
			filepath.Join(outside, "b")), "signers"),
		"a link in the work tree to elsewhere": link(filepath.Join(outside, "signers"), filepath.Join(r.dir, "c")),
		"a link through the work tree and out": chain,
		"a parent of a linked directory": link(filepath.Join(r.dir, "ops"), filepath.Join(outside, "d")) +
			"/../ops/signers",
		"in the work tree, by a roundabout way": outside + "/../" + filepath.Base(outside) + "/b/signers",
	} {
		for flag, load := range map[string]func(string) (*Signers, error){
			"--allowed-signers": func(f string) (*Signers, error) { return repo.Signers(f, "") },
			"--keyring":         func(f string) (*Signers, error) { return repo.Signers("", f) },
		} {
			if _, err := load(file); !fault.IsRefusal(err) || !strings.Contains(err.Error(), "vouch for itself") ||
				fault.HintOf(err) == "" {
				t.Errorf("%s %s: %v", flag, name, err)
			}
		}
	}
	for _, file := range []string{filepath.Join(outside, "signers"),
		link(filepath.Join(outside, "signers"), filepath.Join(outside, "ok"))} {
		if _, err := repo.Signers(file, ""); err != nil {
			t.Errorf("outside: %v", err)
		}
	}
	t.Chdir(r.dir)
	if _, err := repo.Signers("ops/signers", ""); !fault.IsRefusal(err) {
		t.Errorf("a relative name: %v", err)
	}
	if _, err := repo.Signers("", ""); err == nil || fault.HintOf(err) == "" {
		t.Errorf("no file at all: %v", err)
	}
	if _, err := repo.Signers(outside, ""); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestTheHeadersOfACommitAreAsGitWritesThem(t *testing.T) {
	const tree, parent, people = "tree 1\n", "parent 1\n", "author a\ncommitter a\n"
	const sig = "gpgsig -----\n x\n"
	for raw, good := range map[string]bool{
		tree + people + sig + "\nm":                            true,
		tree + parent + parent + people + sig + "\n":           true,
		tree + people + "encoding x\n" + sig + "extra\n\nm":    true,
		tree + people + sig + "mergetag object 1\n parent\n\n": true,
		tree + people + sig:                                    false,
		tree + people + "\ngpgsig in the message\n\n":          false,
		tree + sig + people + "\n":                             false,
		tree + sig + parent + people + "\n":                    false,
		tree + people + sig + parent + "\n":                    false,
		tree + people + sig + tree + "\n":                      false,
		tree + people + " x\n" + sig + "\n":                    false,
		tree + parent + " x\n" + people + sig + "\n":           false,
		tree + people + sig + sig + "\n":                       false,
		tree + people + sig + "gpgsig-sha256 x\n\n":            false,
		parent + tree + people + sig + "\n":                    false,
		"":                                                     false,
	} {
		if err := checkHeaders([]byte(raw)); (err == nil) != good {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
