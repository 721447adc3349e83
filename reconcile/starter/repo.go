// Package starter writes the first lines that an operator would otherwise type: the files of a new fleet repository,
// and the CUE of a further host.
package starter

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"bakehouse/examples"
	"bakehouse/schema"
	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// Repo is a new fleet repository, from an example.
type Repo struct {
	Dir, Example string
	URL          string // of the server; empty: the example's, which Write fills in
	Certificates string // file by which hosts trust the server; empty: none
	Format       string // of packages; empty: the example's, which Write fills in
}

// Where the examples have what flags replace.
var (
	urlLine    = regexp.MustCompile(`(?m)^url: "(.*)"$`)
	formatWord = regexp.MustCompile(`(?m)^(defaults: .*format: )"([a-z]+)"`)
)

// Write writes the example into the directory. One that has anything but .git in it is refused before anything is
// written.
func (r *Repo) Write() error {
	files, err := r.files()
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("init: %w", err)
	}
	for _, e := range entries {
		if e.Name() != ".git" {
			return fault.Hint(fmt.Errorf("init: %s is not empty: it has %s", r.Dir, e.Name()),
				"choose another directory: bakehouse init DIR")
		}
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return fault.Hint(fmt.Errorf("init: %w", err), "choose a directory that can be written: bakehouse init DIR")
	}
	if len(entries) == 0 {
		options := git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.Main}}
		if _, err := git.PlainInitWithOptions(r.Dir, &options); err != nil {
			return fmt.Errorf("init: making %s a git repository: %w", r.Dir, err)
		}
	}
	for name, data := range files {
		path := filepath.Join(r.Dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	return nil
}

// files are those of the example with what the flags say, by path.
func (r *Repo) files() (map[string][]byte, error) {
	fsys, err := examples.FS(r.Example)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"CODEOWNERS": examples.CodeOwners, ".gitattributes": examples.GitAttributes}
	err = fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files[name], err = fs.ReadFile(fsys, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	const top, defaults = "fleet.cue", "hosts/hosts.cue"
	if r.URL != "" {
		if err := schema.CheckServerURL(r.URL); err != nil {
			return nil, err
		}
		files[top] = urlLine.ReplaceAllLiteral(files[top], []byte("url: "+cueString(r.URL)))
	} else {
		r.URL = string(urlLine.FindSubmatch(files[top])[1])
	}
	if r.Format != "" {
		if f := schema.Format(r.Format); !slices.Contains((schema.Platform{OS: "linux", Arch: "amd64"}).Formats(), f) {
			return nil, fault.Hint(fmt.Errorf("unknown format %.40q for Linux: want deb, rpm or tgz", r.Format),
				"hosts of other systems get theirs in hosts/")
		}
		files[defaults] = formatWord.ReplaceAll(files[defaults], []byte(`${1}"`+r.Format+`"`))
	} else {
		r.Format = string(formatWord.FindSubmatch(files[defaults])[2])
	}
	if r.Certificates != "" {
		text, err := trustedCUE(r.Certificates, r.URL, time.Now())
		if err != nil {
			return nil, err
		}
		files[top] = append(files[top], text...)
	}
	return files, nil
}

// maxCertificates bounds a file of certificates, in bytes.
const maxCertificates = 1 << 20

// trustedCUE is the field of fleet.cue with the certificates of a file, which are for a server with that URL.
func trustedCUE(file, server string, now time.Time) (string, error) {
	hint := func(err error) error {
		return fault.Hint(err, "--certificates takes the certificate of the authority that signed the server's, "+
			"or the server's own if it is self-signed, as PEM")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", hint(err)
	}
	defer f.Close()
	rest, err := io.ReadAll(io.LimitReader(f, maxCertificates))
	if err != nil {
		return "", hint(err)
	}
	var items []string
	named, names := false, []string{} // whether one is for the server; what those are for that say so
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", hint(fmt.Errorf("%s: %s is not a certificate, and this file would be committed", file,
				strings.ToLower(block.Type)))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", hint(fmt.Errorf("%s: %w", file, err))
		}
		if now.After(c.NotAfter) {
			return "", hint(fmt.Errorf("%s: certificate %q expired on %s", file, c.Subject.CommonName,
				c.NotAfter.UTC().Format(time.DateOnly)))
		}
		names = append(names, c.DNSNames...)
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
		named = named || c.VerifyHostname(hostOf(server)) == nil
		text := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})))
		items = append(items, "\"\"\"\n\t"+strings.ReplaceAll(text, "\n", "\n\t")+"\n\t\"\"\"")
	}
	switch {
	case len(items) == 0:
		return "", hint(fmt.Errorf("%s holds no certificate in PEM", file))
	case len(names) > 0 && !named:
		host := hostOf(server)
		err := fmt.Errorf("%s is for %s, and hosts reach the server as %s", file, strings.Join(names, ", "), host)
		return "", fault.Hint(err, "the certificate must name %s (subjectAltName), or --url must use its name", host)
	}
	return "\n// Hosts trust the server by these certificates, and by no others.\ncertificates: [" +
		strings.Join(items, ", ") + "]\n", nil
}

func hostOf(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	return u.Hostname()
}

// A step is a command, and what to know of it.
type step struct{ command, why string }

// steps lead from the new files to the first package. source is a checkout to build host programs from, if they do not
// come with this executable. README.md shows the same, which its test holds.
func (r *Repo) steps(source string) []step {
	upgrade := "bakehouse upgrade"
	if source != "" {
		upgrade += " --source " + source
	}
	var s []step
	if r.Dir != "." {
		s = append(s, step{"cd " + r.Dir, ""})
	}
	s = append(s,
		step{"bakehouse key create root --use root", "asks for a passphrase, which is stored nowhere"},
		step{"bakehouse key create online --use targets,snapshot,timestamp", ""},
		step{"bakehouse key create release --use package", ""},
		step{"bakehouse root init", "trust/1.root.json: what hosts trust first"},
		step{upgrade, "pins the host programs"},
		step{"bakehouse access add installer --permission register >> access.cue", "who may register hosts"},
	)
	if r.Example == "minimal" {
		s = append(s, step{"bakehouse host add web01 --address 192.0.2.11 >> hosts/hosts.cue", "your first host"})
	}
	return append(s,
		step{`git add -A && git commit -m "Start the fleet"`, ""},
		step{"bakehouse check", "every error at once, as file:line:col"},
		step{"bakehouse reconcile --store ../store --init", "bakes, signs and publishes the first release"},
		step{"bakehouse package get web01 --store ../store -o ../web01." + r.Format, "for the first installation"},
	)
}

// PrintSteps says what comes next.
func (r *Repo) PrintSteps(w io.Writer, source string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "A fleet repository is in %s. Next:\n", r.Dir)
	steps := r.steps(source)
	width := 0
	for _, s := range steps {
		width = max(width, len(s.command))
	}
	for _, s := range steps {
		line := "  " + s.command
		if s.why != "" {
			line += strings.Repeat(" ", width-len(s.command)) + "  # " + s.why
		}
		b.WriteString(line + "\n")
	}
	if r.Example == "minimal" {
		b.WriteString("Hosts install nothing until rollout.enabled in fleet.cue is true.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
