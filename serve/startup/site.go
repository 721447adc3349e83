package startup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/serve/upstream"
)

// SecretVariable has the secret of a site's user if no file does.
const SecretVariable = "BAKEHOUSE_UPSTREAM_SECRET"

// Site is what makes a server a remote site.
type Site struct {
	Name, Upstream, User, SecretFile, CA, Fingerprint, CacheSize string
	Prefetch                                                     bool
}

// Flags adds those of a site.
func (s *Site) Flags(f *pflag.FlagSet) {
	f.StringVar(&s.Name, "site", "", "be the remote site `NAME` of the fleet, with --store as its cache")
	f.StringVar(&s.Upstream, "upstream", "", "of a site: the `URL` of its centre")
	f.StringVar(&s.User, "upstream-user", "", "of a site: `NAME` of the user with the permission site")
	f.StringVar(&s.SecretFile, "upstream-secret-file", "",
		"of a site: `FILE` whose first line is that user's secret (default: the variable "+SecretVariable+")")
	f.StringVar(&s.CA, "upstream-ca", "", "of a site: `FILE` with the certificates (PEM) of the authority that "+
		"signed the centre's, besides those in signed policy")
	f.StringVar(&s.Fingerprint, "root-fingerprint", "",
		"of a site: `SHA256` of the fleet's first root, trust/1.root.json, which comes from the centre")
	f.StringVar(&s.CacheSize, "cache-size", "20G", "of a site: how large its cache may be, in `BYTES`")
	f.BoolVar(&s.Prefetch, "prefetch", false,
		"of a site: fetch the packages of a new release before its hosts ask for them")
	settings.Setting(f, "prefetch", "cache-size")
	settings.Trust(f, "site", "upstream", "upstream-user", "upstream-secret-file", "upstream-ca", "root-fingerprint")
}

// Check refuses flags that do not go together; ok is false if none of them is set.
func (s *Site) Check() (ok bool, err error) {
	given := s.Upstream + s.User + s.SecretFile + s.CA + s.Fingerprint
	switch {
	case s.Name == "" && (given != "" || s.Prefetch):
		return false, fault.Hint(errors.New("flags of a remote site are set, and --site is not"),
			"set --site to the site's name in sites/ of the config repo")
	case s.Name == "":
		return false, nil
	case schema.CheckName(s.Name) != nil:
		return false, fmt.Errorf("--site: %w", schema.CheckName(s.Name))
	case s.Name == schema.CentralSite:
		return false, fault.Hint(errors.New("--site central is the centre itself"),
			"leave --site out, or name one of sites/ of the config repo")
	case s.Upstream == "":
		return false, fault.Hint(errors.New("a site has an upstream"), "set --upstream to the centre's URL")
	case s.User == "" || strings.Contains(s.User, ":"):
		return false, fault.Hint(errors.New("no upstream user is set, or its name has a colon"),
			"set --upstream-user to a user with permissions: site: [\"%s\"] in access.cue", s.Name)
	case !strings.HasPrefix(s.Upstream, "https://"):
		return false, fault.Hint(fmt.Errorf("--upstream %s is not https: the user's secret is never sent in the clear",
			s.Upstream), "set it to the centre's https:// URL")
	}
	if err := schema.CheckServerURL(s.Upstream); err != nil {
		return false, fmt.Errorf("--upstream: %w", err)
	}
	// All that can be judged from here is, before a database is made or a port is open.
	_, wrongSize := Size(s.CacheSize)
	_, wrongRoot := s.fingerprint()
	_, wrongCA := s.authorities()
	for _, err := range []error{wrongSize, wrongRoot, wrongCA} {
		if err != nil {
			return false, err
		}
	}
	_, err = s.secret()
	return err == nil, err
}

const maxSecret = 4096

// secret is read each time: it may have been replaced.
func (s *Site) secret() (string, error) {
	if s.SecretFile == "" {
		if v := os.Getenv(SecretVariable); v != "" {
			return v, nil
		}
		return "", fault.Hint(errors.New("the secret of the upstream user is not set"),
			"set --upstream-secret-file FILE, or the variable %s", SecretVariable)
	}
	f, err := os.Open(s.SecretFile)
	if err != nil {
		return "", fault.Hint(err, "--upstream-secret-file names a file whose first line is the user's secret")
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxSecret)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fault.Hint(fmt.Errorf("%s is empty", s.SecretFile), "its first line is the user's secret")
	}
	return line, nil
}

func (s *Site) authorities() ([]string, error) {
	if s.CA == "" {
		return nil, nil
	}
	b, err := os.ReadFile(s.CA)
	if err == nil {
		_, err = schema.ParseCertificates(string(b))
	}
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("--upstream-ca: %w", err),
			"set it to a PEM file with the certificate of the authority that signed the centre's")
	}
	return []string{string(b)}, nil
}

var units = map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

// Size reads a number of bytes, such as 10G.
func Size(text string) (int64, error) {
	number := strings.TrimRight(text, "KMGT")
	unit, known := units[text[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !known || n < 1 || n > (1<<62)/unit {
		return 0, fault.Hint(fmt.Errorf("--cache-size %.40q is not a size", text), "give one such as 500M or 20G")
	}
	return n * unit, nil
}

// Open opens the site in the directory dir, with the root from which it verifies what the centre says: the one in the
// file root, or the one that has the fingerprint.
func (s *Site) Open(ctx context.Context, dir, root, version string, i upstream.Inventory, log *slog.Logger) (
	_ *upstream.Site, anchor []byte, err error,
) {
	limit, err := Size(s.CacheSize)
	if err != nil {
		return nil, nil, err
	}
	dir = strings.TrimPrefix(dir, "file://")
	if _, err := os.Stat(filepath.Join(dir, schema.TimestampDir)); err == nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s is a store, and a site needs a directory for its cache", dir),
			"set --store to a directory of its own")
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fault.Hint(err, "--store is the directory of the site's cache")
	}
	if anchor, err = s.anchor(ctx, dir, root, version); err != nil {
		return nil, nil, err
	}
	up, err := upstream.Open(ctx, upstream.Options{Name: s.Name, Centre: s.Upstream, User: s.User, Secret: s.secret,
		Authorities: s.authorities, Dir: dir, Limit: limit, Prefetch: s.Prefetch, Program: version, Inventory: i,
		Log: log})
	return up, anchor, err
}

// anchor is the fleet's first root: from the file, or as it was kept in dir, or, the first time, from the centre.
func (s *Site) anchor(ctx context.Context, dir, file, version string) ([]byte, error) {
	kept := filepath.Join(dir, "root.json")
	if file != "" {
		return readRoot(file)
	}
	b, err := os.ReadFile(kept)
	switch {
	case err == nil:
		return b, s.pinned(b)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case s.Fingerprint == "":
		return nil, fault.Hint(errors.New("nothing says which fleet this site is of"),
			"set --root-fingerprint to the SHA-256 of trust/1.root.json in the config repo, or --root to the file")
	}
	authorities, err := s.authorities()
	if err != nil {
		return nil, err
	}
	// Whoever has a file with that fingerprint may hand it over.
	u, err := wire.NewUnverified(wire.Config{Server: s.Upstream, Certificates: authorities})
	if err != nil {
		return nil, err
	}
	defer u.Close()
	if b, err = u.Metadata(ctx, "1.root.json", schema.MaxRoot); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", s.Upstream, err)
	}
	if err := s.pinned(b); err != nil {
		return nil, err
	}
	if _, err := trust.ParseRoot(b); err != nil {
		return nil, fmt.Errorf("the root of %s: %w", s.Upstream, err)
	}
	return b, durable.WriteFile(kept, b, 0o600)
}

// pinned refuses a root that has not the fingerprint that was given.
func (s *Site) pinned(root []byte) error {
	want, err := s.fingerprint()
	if err != nil || s.Fingerprint == "" {
		return err
	}
	if got := schema.DigestOf(root); got != want {
		return fault.Refuse(fmt.Errorf("the fleet's first root has the SHA-256 %s, not the one of --root-fingerprint",
			got.Hex()), "compare it with sha256sum trust/1.root.json in the config repo: the centre, or the directory "+
			"of --store, is another fleet's, or not to be trusted")
	}
	return nil
}

// First asks a site's centre before anything is served. What does not answer, or refuses, is no reason not to serve
// what there is.
func First(ctx context.Context, site *upstream.Site, log *slog.Logger) error {
	more, err := site.Step(ctx, nil)
	for more && err == nil {
		more, err = site.Step(ctx, nil)
	}
	if err != nil && !site.Served() {
		return fmt.Errorf("nothing was ever served here, and the centre: %w", err)
	}
	if err != nil {
		log.Warn("serving what there is", "error", err, "hint", fault.HintOf(err))
	}
	return nil
}

// fingerprint is what --root-fingerprint says, zero if it is not set.
func (s *Site) fingerprint() (schema.Digest, error) {
	if s.Fingerprint == "" {
		return schema.Digest{}, nil
	}
	d, err := schema.ParseHex(strings.ToLower(strings.ReplaceAll(s.Fingerprint, ":", "")))
	if err != nil {
		return d, fault.Hint(fmt.Errorf("invalid --root-fingerprint %.80q: want 64 hex digits", s.Fingerprint),
			"sha256sum trust/1.root.json prints it")
	}
	return d, nil
}
