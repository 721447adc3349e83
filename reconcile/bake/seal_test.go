package bake_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/bake/seal"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// gnupg signs by the real gpg, of a fresh key.
type gnupg struct {
	t         *testing.T
	algorithm string
	public    string // file with the public half
}

func newGnupg(t *testing.T, algorithm string) *gnupg {
	t.Helper()
	gpg := needs.Tool(t, "gpg")
	home, err := os.MkdirTemp("", "gpg") // a test's own folder has too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GNUPGHOME", home)
	run(t, gpg, "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "Test <test@example.org>", algorithm, "sign", "never")
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	return &gnupg{t, algorithm, write(t, "key.asc", []byte(run(t, gpg, "--armor", "--export", "test@example.org")))}
}

func (g *gnupg) RSA() bool { return strings.HasPrefix(g.algorithm, "rsa") }

func (g *gnupg) Sign(message io.Reader) ([]byte, error) {
	c := exec.Command("gpg", "--batch", "--detach-sign", "--output", "-")
	c.Stdin = message
	return c.Output()
}

// sealed bakes and seals a package, and writes it to a file.
func sealed(t *testing.T, format schema.Format, s seal.OpenPGP) (file string, plain []byte) {
	t.Helper()
	st, src := newMemory(), repo{}
	plain = assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), format))
	var b bytes.Buffer
	if err := seal.Write(&b, bytes.NewReader(plain), int64(len(plain)), format, s); err != nil {
		t.Fatal(err)
	}
	return write(t, "p."+string(format), b.Bytes()), plain
}

func TestRpmFindsTheSignatureOfASealedPackageAndInstallsItAsTheSame(t *testing.T) {
	for _, algorithm := range []string{"rsa2048", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			g := newGnupg(t, algorithm)
			f, plain := sealed(t, schema.Rpm, g)
			root := newRpmRoot(t)
			if out, err := root.do("--checksig", f); err == nil {
				t.Errorf("it is taken without its key: %s", out)
			}
			root.trusts(g)
			out, err := root.do("--checksig", "--verbose", f)
			if err != nil || !strings.Contains(out, "Signature, key ID") || strings.Count(out, ": OK\n") < 3 || strings.Contains(out, "BAD") {
				t.Errorf("rpm --checksig: %v\n%s", err, out)
			}
			broken, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			// The summary stands in the header, which the signature covers.
			broken = bytes.Replace(broken, []byte("Monitoring agent of"), []byte("Monitoring agent 0f"), 1)
			if out, err := root.do("--checksig", write(t, "broken.rpm", broken)); err == nil {
				t.Errorf("an altered header is taken: %s", out)
			}
			root.quiet("--install", f)
			root.quiet("--upgrade", "--replacepkgs", write(t, "plain.rpm", plain)) // as an update to the published one
			if got, err := root.do("--query", "bakehouse-agent"); err != nil || got != "bakehouse-agent-0.1.0-"+someID+".x86_64\n" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestADebsSealIsAMemberThatGpgVerifiesAndDpkgPassesOver(t *testing.T) {
	g := newGnupg(t, "ed25519")
	f, plain := sealed(t, schema.Deb, g)
	b, err := os.ReadFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, plain) {
		t.Error("the package within is another")
	}
	members := readAr(t, b)
	if len(members) != 4 || members[3].name != "_gpgorigin" {
		t.Fatalf("members %v", members)
	}
	run(t, "gpg", "--batch", "--verify", write(t, "sig", members[3].data), write(t, "data", slices.Concat(members[0].data, members[1].data, members[2].data)))
	if got := run(t, needs.Tool(t, "dpkg-deb"), "--show", "--showformat=${Version}", f); got != "0.1.0+"+someID {
		t.Errorf("%q", got)
	}
	root, dpkg := dpkgRoot(t)
	run(t, append(dpkg, "--install", f)...)
	run(t, append(dpkg, "--install", write(t, "plain.deb", plain))...)
	if out, err := os.ReadFile(filepath.Join(root, "var/lib/dpkg/status")); err != nil || !strings.Contains(string(out), "Version: 0.1.0+"+someID+"\n") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestWhatIsNoPackageIsNotSealed(t *testing.T) {
	g := newGnupg(t, "ed25519")
	_, deb := sealed(t, schema.Deb, g)
	_, rpm := sealed(t, schema.Rpm, g)
	for name, c := range map[string]struct {
		format schema.Format
		b      []byte
	}{"a deb as rpm": {schema.Rpm, deb}, "an rpm as deb": {schema.Deb, rpm}, "half a deb": {schema.Deb, deb[:len(deb)/2]}, "half a header": {schema.Rpm, rpm[:300]}, "nothing": {schema.Rpm, nil}} {
		if err := seal.Write(io.Discard, bytes.NewReader(c.b), int64(len(c.b)), c.format, g); err == nil {
			t.Errorf("%s was sealed", name)
		}
	}
}
