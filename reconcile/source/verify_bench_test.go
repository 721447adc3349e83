package source

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/needs"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// chain stores a line of signed commits of one tree above parent, a minute apart, and returns the last one's hash.
func chain(b *testing.B, dir string, signer ssh.Signer, tree, parent string, n int, at time.Time) string {
	b.Helper()
	store := filesystem.NewStorage(osfs.New(filepath.Join(dir, ".git")), cache.NewObjectLRUDefault())
	for i := range n {
		up := ""
		if parent != "" {
			up = "parent " + parent + "\n"
		}
		who := fmt.Sprintf("a <a@example.com> %d +0000", at.Add(time.Duration(i)*time.Minute).Unix())
		payload := fmt.Sprintf("tree %s\n%sauthor %s\ncommitter %s\n\nchange %d\n", tree, up, who, who, i)
		sig, err := sshsig.Sign(strings.NewReader(payload), signer, sshsig.HashSHA512, namespace)
		if err != nil {
			b.Fatal(err)
		}
		header := "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(string(sshsig.Armor(sig))), "\n", "\n ")
		o := &plumbing.MemoryObject{}
		o.SetType(plumbing.CommitObject)
		if _, err := o.Write([]byte(strings.Replace(payload, "\n\n", header+"\n\n", 1))); err != nil {
			b.Fatal(err)
		}
		hash, err := store.SetEncodedObject(o)
		if err != nil {
			b.Fatal(err)
		}
		parent = hash.String()
	}
	return parent
}

// A thousand commits on top of five thousand that are published, beside `git verify-commit` for some of them.
func BenchmarkVerifyAThousandCommits(b *testing.B) {
	needs.Tool(b, "ssh-keygen")
	dir := b.TempDir()
	git := func(args ...string) string {
		b.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	tree := git("write-tree")
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)))
	if err != nil {
		b.Fatal(err)
	}
	line := "a@example.com " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	allowed, err := parseAllowedSigners("allowed", []byte(line))
	if err != nil {
		b.Fatal(err)
	}
	base := chain(b, dir, signer, tree, "", 5000, today.AddDate(0, 0, -9))
	head := chain(b, dir, signer, tree, base, 1000, today.AddDate(0, 0, -2))
	git("update-ref", "HEAD", head)
	git("gc", "-q")

	var ours time.Duration
	for b.Loop() {
		start := time.Now()
		repo, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		signed, err := repo.Verifier(&Signers{ssh: allowed}, today).Since(base, head)
		if err != nil || len(signed) != 1000 {
			b.Fatal(len(signed), err)
		}
		ours += time.Since(start)
	}
	ours /= time.Duration(b.N)

	const some = 20
	file := filepath.Join(b.TempDir(), "allowed")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		b.Fatal(err)
	}
	commits := strings.Fields(git("rev-list", fmt.Sprint("-n", some), "HEAD"))
	start := time.Now()
	git(append([]string{"-c", "gpg.ssh.allowedSignersFile=" + file, "verify-commit"}, commits...)...)
	theirs := time.Since(start) * 1000 / some
	b.ReportMetric(float64(theirs)/float64(ours), "times-faster-than-git-verify-commit")
}
