package source

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/needs"

	"golang.org/x/crypto/ssh"
)

// testKey is an Ed25519 key in the form that a line has; the seed tells keys apart.
func testKey(t testing.TB, seed byte) (key ssh.PublicKey, text string) {
	t.Helper()
	pub := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public()
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// Each line is asked of ssh-keygen too: what it lets through and what not is what we let through, unless a case says that
// we are stricter.
func TestAllowedSignersMeanWhatTheyMeanToSSHKeygen(t *testing.T) {
	needs.Tool(t, "ssh-keygen")
	dir := t.TempDir()
	for _, who := range []string{"alice", "bob"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, who)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	words := strings.Fields(read("alice.pub"))
	A, B := strings.Join(words[:2], " "), read("bob.pub")
	key, err := parseKey(A)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", filepath.Join(dir, "alice"))
	cmd.Stdin = strings.NewReader("message")
	signature, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "sig", string(signature))

	const me = "a@x.org"
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, file string
		as         string // default me
		stricter   bool   // we refuse what ssh-keygen allows
	}{
		{name: "a plain line", file: me + " " + A},
		{name: "a comment after the key", file: me + " " + A + " a comment, with \"quotes"},
		{name: "tabs and blanks", file: "  \t" + me + " \t " + strings.Replace(A, " ", " \t ", 1) + "\t c"},
		{name: "carriage returns", file: "# c\r\n\r\n" + me + " " + A + "\r\n"},
		{name: "comments and empty lines", file: "\n# " + me + " " + B + "\n  # x\n\n" + me + " " + A + "\n"},
		{name: "another principal", file: "b@x.org " + A},
		{name: "another key", file: me + " " + B},
		{name: "a later line", file: me + " " + B + "\n" + me + " " + A},
		{name: "a later line for the same key", file: "b@x.org " + A + "\n" + me + " " + A},
		{name: "a list of principals", file: "b@x.org," + me + " " + A},
		{name: "a list of principals, quoted with a blank", file: `"b x,` + me + `" ` + A},
		{name: "a quote in the middle of principals", file: `b@x.org,"` + me + `" ` + A},
		{name: "a word that goes on after the quote", file: `"b@x.org",` + me + ` ` + A},
		{name: "a quote that is not closed", file: `"` + me + ` ` + A},
		{name: "a star", file: "* " + A},
		{name: "a star for the name", file: "*@x.org " + A},
		{name: "stars that back up", file: "*x*.o*g " + A},
		{name: "stars that do not fit", file: "*x*x.org " + A},
		{name: "question marks", file: "?@?.org " + A},
		{name: "a question mark too many", file: "??@x.org " + A},
		{name: "a pattern that is a prefix", file: "a@x " + A},
		{name: "another case", file: "A@X.ORG " + A},
		{name: "an address that the pattern denies", file: "*@x.org,!a@* " + A},
		{name: "denied first", file: "!a@*,*@x.org " + A},
		{name: "nothing but a denial", file: "!b@x.org " + A},
		{name: "a denial of another", file: "!b@x.org,*@x.org " + A},
		{name: "a double denial", file: "!!" + me + ",* " + A},
		{name: "empty patterns", file: ",," + me + ", " + A},
		{name: "nobody", file: `"" ` + A},
		{name: "nobody, and signing as nobody", file: ", " + A, as: "nobody"},
		{name: "a pattern of 1022 bytes", file: strings.Repeat("*", 1021-len(me)) + me + "* " + A},
		{name: "a pattern of 1023 bytes", file: strings.Repeat("*", 1022-len(me)) + me + "* " + A},
		{name: "a pattern of 1024 bytes", file: strings.Repeat("*", 1023-len(me)) + me + "* " + A},

		{name: "the namespace", file: me + ` namespaces="git" ` + A},
		{name: "a list of namespaces", file: me + ` namespaces="file,g?t" ` + A},
		{name: "another namespace", file: me + ` namespaces="file" ` + A},
		{name: "a denied namespace", file: me + ` namespaces="*,!git" ` + A},
		{name: "the namespace in another case", file: me + ` namespaces="GIT" ` + A},
		{name: "an option in another case", file: me + ` NameSpaces="git" ` + A},
		{name: "no namespace", file: me + ` namespaces="" ` + A},
		{name: "a blank in a namespace", file: me + ` namespaces="a b,git" ` + A},
		{name: "a quote in a namespace", file: me + ` namespaces="a\",git" ` + A},
		{name: "a backslash in a namespace", file: me + ` namespaces="a\b,git" ` + A},
		{name: "a namespace without quotes", file: me + ` namespaces=git ` + A},
		{name: "a namespace without a closing quote", file: me + ` namespaces="git ` + A},
		{name: "two lists of namespaces", file: me + ` namespaces="git",namespaces="git" ` + A},
		{name: "namespaces without a value", file: me + ` namespaces ` + A},
		{name: "options apart", file: me + ` namespaces="git" valid-after="20260101Z" ` + A},
		{name: "a comma at the end of options", file: me + ` namespaces="git", ` + A},
		{name: "a comma at the start of options", file: me + ` ,namespaces="git" ` + A, stricter: true},
		{name: "an unknown option", file: me + ` restrict ` + A},
		{name: "an unknown option after a known one", file: me + ` namespaces="git",restrict ` + A},
		{name: "something glued to a value", file: me + ` namespaces="git"x ` + A},

		{name: "valid by now", file: me + ` valid-after="20260304120000Z" ` + A},
		{name: "not valid yet, by a second", file: me + ` valid-after="20260304120001Z" ` + A},
		{name: "still valid", file: me + ` valid-before="20260304120000Z" ` + A},
		{name: "no longer valid, by a second", file: me + ` valid-before="20260304115959Z" ` + A},
		{name: "a day", file: me + ` valid-before="20260305Z" ` + A},
		{name: "a minute", file: me + ` valid-before="202603041159Z" ` + A},
		{name: "a small z", file: me + ` valid-before="202603041201z" ` + A},
		{name: "UTC in words", file: me + ` valid-before="202603041201UTC" ` + A},
		{name: "local time, before", file: me + ` valid-before="202603041659" ` + A},
		{name: "local time, after", file: me + ` valid-before="202603041701" ` + A},
		{name: "a window", file: me + ` valid-after="20260304Z",valid-before="20260305Z",namespaces="git" ` + A},
		{name: "a window that is over", file: me + ` valid-after="20260302Z",valid-before="20260303Z" ` + A},
		{name: "a window that ends before it begins", file: me + ` valid-after="20260305Z",valid-before="20260303Z" ` + A},
		{name: "a window of no length", file: me + ` valid-after="20260304Z",valid-before="20260304Z" ` + A},
		{name: "a window that is over, and another line", file: me + ` valid-before="20260303Z" ` + A + "\n" + me + " " + A},
		{name: "two ends", file: me + ` valid-before="20260305Z",valid-before="20260306Z" ` + A},
		{name: "a time of eleven digits", file: me + ` valid-before="20260304120" ` + A},
		{name: "a month 13", file: me + ` valid-before="20261301Z" ` + A},
		{name: "a time with letters", file: me + ` valid-before="2026030a" ` + A},
		{name: "1970", file: me + ` valid-after="19700101Z" ` + A},
		{name: "no time", file: me + ` valid-before="" ` + A},

		{name: "no key", file: me},
		{name: "no key after options", file: me + ` namespaces="git"`},
		{name: "a key type alone", file: me + " ssh-ed25519"},
		{name: "a key of a type that the line denies", file: me + " ecdsa-sha2-nistp256 " + words[1]},
		{name: "a key that is cut short", file: me + " ssh-ed25519 " + words[1][:40]},
		{name: "a key that is not base64", file: me + " ssh-ed25519 @@@@"},
		{name: "a key of an unknown type", file: me + " ssh-new AAAA"},
		{name: "a key without principals", file: A},

		{name: "a certificate authority", file: me + " cert-authority " + A},
		{name: "a broken line before", file: "x\n" + me + " " + A, stricter: true},
		{name: "a broken line after", file: me + " " + A + "\nx y z", stricter: true},
		{name: "a certificate authority after", file: me + " " + A + "\n* cert-authority " + B, stricter: true},
		{name: "February 30", file: me + ` valid-before="20260330Z",valid-after="20260230Z" ` + A, stricter: true},
		{name: "a control character", file: me + ",\x01 " + A, stricter: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// ssh-keygen gets New York's time, five hours behind.
			local := time.Local
			time.Local = time.FixedZone("EST", -5*3600)
			defer func() { time.Local = local }()
			as := c.as
			if as == "" {
				as = me
			}
			write(t, dir, "allowed", c.file)
			cmd := exec.Command("ssh-keygen", "-Y", "verify", "-n", "git", "-I", as, "-s", filepath.Join(dir, "sig"),
				"-f", filepath.Join(dir, "allowed"), "-Overify-time="+noon.Format("20060102150405Z"))
			cmd.Stdin, cmd.Env = strings.NewReader("message"), append(os.Environ(), "TZ=EST5")
			out, theirs := cmd.CombinedOutput()
			f, ours := parseAllowedSigners("allowed", []byte(c.file))
			if ours == nil {
				_, ours = f.permit(key, as, "git", noon)
			}
			if c.stricter && theirs == nil && ours != nil {
				return
			}
			if (ours == nil) != (theirs == nil) || c.stricter {
				t.Errorf("ours: %v; ssh-keygen: %v %s", ours, theirs, out)
			}
		})
	}
}

func TestWhatAllowedSignersMayNotHoldIsRefusedAtItsLine(t *testing.T) {
	key, text := testKey(t, 1)
	cert := &ssh.Certificate{Key: key, SignatureKey: key, Signature: &ssh.Signature{Format: "ssh-ed25519", Blob: make([]byte, 64)}}
	short, err := ssh.NewPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"a@x.org " + text + "\n\na@x.org cert-authority " + text:                           "signers:3: cert-authority is not supported",
		"a@x.org namespaces=\"git\",Cert-Authority " + text:                                "signers:1: cert-authority is not supported",
		"a@x.org " + cert.Type() + " " + base64.StdEncoding.EncodeToString(cert.Marshal()): "signers:1: certificates are not supported",
		"a@x.org " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(short))):            "signers:1: an RSA key of 1024 bits is too short",
		"a@x.org permit-pty " + text:                                                       `signers:1: unknown option or key type "permit-pty"`,
		"a@x.org ssh-ed25519 AAAA":                                                         `signers:1: key of type "ssh-ed25519"`,
		"a@x.org ssh-rsa " + text[12:]:                                                     `signers:1: the key says that its type is "ssh-ed25519", the line "ssh-rsa"`,
		"a@x.org valid-before=\"x\" " + text:                                               "signers:1: option valid-before: \"x\" is no time",
		"a@x.org":                                                                          "signers:1: no key",
		"# nobody\n\n":                                                                     "signers: allows nobody to sign",
		"a@x.org " + text + "\x00":                                                         "signers:1: control character",
		strings.Repeat("#", maxSigners+1):                                                  "signers: larger than",
	} {
		if _, err := parseAllowedSigners("signers", []byte(file)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.200q: error %v, want %s", file, err, want)
		}
	}
}

// matchSlowly says what a pattern means in the fewest words.
func matchSlowly(s, p string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return matchSlowly(s, p[1:]) || s != "" && matchSlowly(s[1:], p)
	}
	return s != "" && (p[0] == '?' || p[0] == s[0]) && matchSlowly(s[1:], p[1:])
}

func FuzzAPatternMatchesAsItsDefinitionSays(f *testing.F) {
	for _, s := range [][2]string{{"a@x.org", "*@x.org"}, {"aab", "*a?"}, {"", "**"}, {"abcab", "*ab"}, {"b", "?*?"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, s, p string) {
		if len(s) > 20 || len(p) > 10 {
			return
		}
		if got, want := matchPattern(s, p), matchSlowly(s, p); got != want {
			t.Errorf("matchPattern(%q, %q) = %v", s, p, got)
		}
	})
}

// Whatever the file holds, parsing ends, and a file that passes lets nobody sign whom no line names.
func FuzzAllowedSigners(f *testing.F) {
	known, text := testKey(f, 1)
	stranger, _ := testKey(f, 2)
	for _, s := range []string{"a@x.org " + text, "\"a b\",!c namespaces=\"git\\\"\",valid-after=\"20260101Z\" " + text + " c\n# x\r\n",
		"* cert-authority " + text, "a@x.org ssh-rsa AAAA", "a", "\"", "a \"", "a valid-before=\"20260101", text} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseAllowedSigners("signers", b)
		if err != nil {
			if s != nil || !strings.HasPrefix(err.Error(), "signers:") {
				t.Errorf("%+v, %v", s, err)
			}
			return
		}
		if _, err := s.permit(stranger, "a@x.org", "git", today); err == nil && !bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(stranger.Marshal()))) {
			t.Errorf("%q lets a stranger sign", b)
		}
		line, err := s.permit(known, "a@x.org", "git", today)
		if err == nil && (!matchList("a@x.org", line.principals) || line.line < 1 || line.line > 1+bytes.Count(b, []byte("\n"))) {
			t.Errorf("%q: %+v", b, line)
		}
		_ = fmt.Sprint(err)
	})
}
