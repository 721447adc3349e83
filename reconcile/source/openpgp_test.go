package source

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/fault"
	"bakehouse/schema/needs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// gnupg is a home of the real gpg. Its path is short because a socket's name must be.
type gnupg struct {
	t    *testing.T
	home string
}

func newGnuPG(t *testing.T) gnupg {
	t.Helper()
	needs.Tool(t, "gpg")
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	g := gnupg{t, home}
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--kill", "all")
		cmd.Env = append(os.Environ(), "GNUPGHOME="+home)
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(home)
	})
	return g
}

func (g gnupg) run(stdin string, args ...string) string {
	g.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Env, cmd.Stdin = append(os.Environ(), "GNUPGHOME="+g.home), strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		g.t.Fatalf("gpg %v: %v\n%s", args, err, &errs)
	}
	return out.String()
}

// key makes a key as if yesterday.
func (g gnupg) key(who, expire string) {
	g.run("", "--faked-system-time", time.Now().UTC().AddDate(0, 0, -1).Format("20060102T150405"), "--quick-gen-key", who+" <"+who+"@example.com>", "ed25519", "sign", expire)
}

func TestOpenPGPSignaturesOnCommitsAreVerified(t *testing.T) {
	g := newGnuPG(t)
	r := newSignedRepo(t)
	g.key("alice", "1y")
	g.key("bob", "never")
	commit := func(who string) string {
		r.day++
		r.gitAs(who, []string{"GNUPGHOME=" + g.home}, "-c", "gpg.format=openpgp", "-c", "user.signingKey="+who+"@example.com",
			"commit", "-q", "-S", "--allow-empty", "-m", "by "+who)
		if out, err := r.tryGit(who, []string{"GNUPGHOME=" + g.home}, "verify-commit", "HEAD"); err != nil {
			t.Fatalf("git: %v: %s", err, out)
		}
		return r.head()
	}
	base := r.commit("mallory")
	alice := commit("alice")
	bob := commit("bob")
	repo, err := Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	present := time.Now()
	since := func(keyring string, now time.Time) ([]Signed, error) {
		t.Helper()
		write(t, r.keys, "keyring", keyring)
		s, err := repo.Signers("", filepath.Join(r.keys, "keyring"))
		if err != nil {
			t.Fatal(err)
		}
		return repo.Verifier(s, now).Since(base, r.head())
	}
	refused := func(signed []Signed, err error) func(commit, reason string) {
		return func(commit, reason string) {
			t.Helper()
			if !fault.IsRefusal(err) || !strings.Contains(err.Error(), commit) || !strings.Contains(err.Error(), reason) {
				t.Errorf("verified %v; error %v; want %s refused because it %q", signed, err, commit, reason)
			}
		}
	}
	// Clocks differ: a signature may be of a little later.
	if _, err := since(g.run("", "--export"), present.Add(-maxSkew/2)); err != nil {
		t.Errorf("a verifier whose clock is behind: %v", err)
	}
	refused(since(g.run("", "--export"), present.Add(-2*maxSkew)))(alice, "yet to come")
	armoredA, armoredB := g.run("", "--armor", "--export", "alice"), g.run("", "--armor", "--export", "bob")
	for form, keyring := range map[string]string{
		"binary": g.run("", "--export"), "armored": g.run("", "--armor", "--export"), "two armored blocks": armoredA + armoredB,
	} {
		if signed, err := since(keyring, present); err != nil || len(signed) != 2 || !strings.HasPrefix(signed[0].Signer, "alice <alice@example.com> ") {
			t.Errorf("%s: %v, %v", form, signed, err)
		} else if rev, err := repo.Revision(bob); err != nil || len(rev.Key) != 40 ||
			!strings.HasSuffix(signed[1].Signer, rev.Key) {
			t.Errorf("%s: the revision names the key %q, it is signed by %q: %v", form, rev.Key, signed[1].Signer, err)
		}
	}
	refused(since(armoredA, present))(bob, "is not in ")
	refused(since(armoredA+armoredB, present.AddDate(2, 0, 0)))(alice, "key expired")
	refused(since(armoredA+armoredB, present.AddDate(0, 0, -3)))(bob, "key expired") // a key of two days later

	// Revoked: gpg keeps a certificate for that beside each key.
	_, fingerprint, _ := strings.Cut(g.run("", "--list-keys", "--with-colons", "alice"), "\nfpr:::::::::")
	fingerprint, _, _ = strings.Cut(fingerprint, ":")
	b, err := os.ReadFile(filepath.Join(g.home, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	g.run(strings.ReplaceAll(string(b), ":-----BEGIN", "-----BEGIN"), "--import")
	refused(since(g.run("", "--export"), present))(alice, "revoked")

	// Over SHA-1, and over another commit.
	payload := r.git("cat-file", "commit", base) + "\n"
	weak := r.graft(payload, g.run(payload, "--armor", "--detach-sign", "--digest-algo", "SHA1", "--local-user", "bob"))
	r.git("reset", "-q", "--hard", weak)
	base = weak
	r.commit("mallory")
	payload = r.git("cat-file", "commit", r.head()) + "\n"
	for reason, signature := range map[string]string{
		"hash algorithm":  g.run(payload, "--armor", "--detach-sign", "--digest-algo", "SHA1", "--local-user", "bob"),
		"does not fit it": g.run(payload+"x", "--armor", "--detach-sign", "--local-user", "bob"),
		"":                g.run(payload, "--armor", "--detach-sign", "--local-user", "bob"),
	} {
		bad := r.graft(payload, signature)
		r.git("reset", "-q", "--hard", bad)
		if reason == "" {
			if _, err := since(armoredB, present); err != nil {
				t.Error(err)
			}
			continue
		}
		refused(since(armoredB, present))(bad, reason)
	}
}

func TestAKeyringIsRefusedThatHoldsNoPublicKeysOrPrivateOnes(t *testing.T) {
	g := newGnuPG(t)
	g.key("alice", "never")
	box, err := os.ReadFile(filepath.Join(g.home, "pubring.kbx"))
	if err != nil {
		t.Fatal(err)
	}
	public := g.run("", "--armor", "--export")
	for name, c := range map[string]struct{ keyring, want string }{
		"private, armored": {g.run("", "--armor", "--export-secret-keys"), "holds a private key"},
		"private, binary":  {g.run("", "--export-secret-keys"), "holds a private key"},
		"private, behind":  {public + g.run("", "--armor", "--export-secret-keys"), "holds a private key"},
		"a key box":        {string(box), "no OpenPGP public keys"},
		"empty":            {"", "keyring"},
		"text":             {"alice\n", "no OpenPGP public keys"},
		"a damaged block":  {public + strings.Replace(public, "\n\n", "\n\nAAAA", 1), "key block 2"},
		"large":            {strings.Repeat("x", maxKeyring+1), "larger than"},
	} {
		k, err := parseKeyring("keyring", []byte(c.keyring))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

// Whatever a commit carries as its signature, checking it ends, and nothing but the real one passes.
func FuzzASignatureOfACommit(f *testing.F) {
	_, line := testKey(f, 1)
	f.Add("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg\n-----END SSH SIGNATURE-----\n")
	f.Add("-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQ\n=AAAA\n-----END PGP SIGNATURE-----\n")
	f.Add("")
	allowed, err := parseAllowedSigners("signers", []byte("* "+line))
	if err != nil {
		f.Fatal(err)
	}
	e, err := openpgp.NewEntity("a", "", "a@x.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		f.Fatal(err)
	}
	var armored bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&armored, e, strings.NewReader("another payload"), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(armored.String())
	ring := &keyring{name: "keyring", keys: openpgp.EntityList{e}}
	f.Fuzz(func(t *testing.T, signature string) {
		if who, err := allowed.verify([]byte("payload"), signature, "a@x.org", today); err == nil {
			t.Errorf("%q passes as %s", signature, who)
		}
		if who, err := ring.verify([]byte("payload"), signature, today); err == nil {
			t.Errorf("%q passes as %s", signature, who)
		}
		armorKind(signature)
		_ = checkHeaders([]byte(signature))
	})
}
