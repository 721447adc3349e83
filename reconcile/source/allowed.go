package source

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"bakehouse/schema/fault"

	"golang.org/x/crypto/ssh"
)

// allowedSigners is an allowed_signers file, the format of ssh-keygen(1), "ALLOWED SIGNERS": on each line principals,
// options and a key. It means what it means to `ssh-keygen -Y verify`, but for what would make a line say more, or the
// file less, than its author reads in it: a file with any line that does not parse is refused whole, and so are
// certificates, cert-authority, DSA and short RSA keys.
type allowedSigners struct {
	name  string // of the file
	lines []allowedSigner
}

// allowedSigner is one line.
type allowedSigner struct {
	line       int
	principals string // a list of patterns
	key        ssh.PublicKey
	namespaces *string   // a list of patterns; nil: every namespace
	after      time.Time // the first instant at which the key may sign; zero: no such
	before     time.Time // the last one; zero: no such
}

const (
	maxSigners = 1 << 20 // bytes of a file
	maxPattern = 1022    // bytes; ssh-keygen matches nothing with a longer one
	minRSA     = 2048    // bits
)

// parseAllowedSigners reads the whole file; the error names the line.
func parseAllowedSigners(name string, b []byte) (*allowedSigners, error) {
	if len(b) > maxSigners {
		return nil, fmt.Errorf("%s: larger than %d bytes, so it is no list of signers", name, maxSigners)
	}
	f := &allowedSigners{name: name}
	for i, text := range strings.Split(string(b), "\n") {
		text = strings.Trim(text, " \t\r")
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := parseAllowedSigner(text)
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("%s:%d: %w", name, i+1, err),
				"a line is: PRINCIPALS [OPTIONS] KEYTYPE KEY [COMMENT], as ssh-keygen(1) describes under ALLOWED SIGNERS")
		}
		s.line = i + 1
		f.lines = append(f.lines, s)
	}
	if len(f.lines) == 0 {
		return nil, fault.Hint(fmt.Errorf("%s: allows nobody to sign", name),
			"add a line for each signer: PRINCIPALS KEYTYPE KEY")
	}
	return f, nil
}

func parseAllowedSigner(text string) (s allowedSigner, err error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return s, errors.New("control character")
	}
	var rest string
	if s.principals, rest, err = cutWord(text); err != nil {
		return s, err
	}
	if err := checkPatterns(s.principals); err != nil {
		return s, fmt.Errorf("principals: %w", err)
	}
	if s.key, err = parseKey(rest); err == nil {
		return s, checkKey(s.key)
	}
	end := endOfOptions(rest)
	if end < 0 {
		return s, errors.New("options: no closing quote")
	}
	options, rest := rest[:end], strings.TrimLeft(rest[end:], " \t")
	if looksLikeKeyType(options) {
		return s, err
	}
	if err := s.parseOptions(options); err != nil {
		return s, err
	}
	if rest == "" {
		return s, errors.New("no key")
	}
	if s.key, err = parseKey(rest); err != nil {
		return s, err
	}
	return s, checkKey(s.key)
}

// cutWord takes the first word, in which a quoted part may hold blanks; the quotes vanish, and a closing one ends the
// word.
func cutWord(s string) (word, rest string, err error) {
	i := strings.IndexAny(s, " \t\"")
	if i < 0 {
		return "", "", errors.New("no key")
	}
	if s[i] != '"' {
		return s[:i], strings.TrimLeft(s[i:], " \t"), nil
	}
	quoted, rest, ok := strings.Cut(s[i+1:], `"`)
	if !ok {
		return "", "", errors.New("no closing quote")
	}
	return s[:i] + quoted, strings.TrimLeft(rest, " \t"), nil
}

// endOfOptions is where the first blank outside quotes stands, -1 if a quote is not closed.
func endOfOptions(s string) int {
	quoted := false
	i := 0
	for ; i < len(s) && (quoted || s[i] != ' ' && s[i] != '\t'); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	if quoted {
		return -1
	}
	return i
}

// parseOptions reads "name,name="value",…". Names are taken in any case, none may stand twice.
func (s *allowedSigner) parseOptions(text string) (err error) {
	for {
		i := strings.IndexAny(text, "=,")
		if i < 0 {
			i = len(text)
		}
		name := strings.ToLower(text[:i])
		switch name {
		case "cert-authority":
			return errors.New("cert-authority is not supported: list the signers' own keys")
		case "namespaces", "valid-after", "valid-before":
		default:
			return fmt.Errorf("unknown option or key type %.60q", text[:i])
		}
		value, rest, err := cutValue(text[i:])
		if err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
		if err := s.set(name, value); err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
		if rest == "" {
			break
		}
		if rest[0] != ',' || len(rest) == 1 {
			return fmt.Errorf("unexpected %.20q after option %s", rest, name)
		}
		text = rest[1:]
	}
	if !s.after.IsZero() && !s.before.IsZero() && !s.after.Before(s.before) {
		return errors.New("valid-before is not after valid-after")
	}
	return nil
}

// cutValue takes `="value"`, in which \" is a quote.
func cutValue(s string) (value, rest string, err error) {
	s, ok := strings.CutPrefix(s, `="`)
	if !ok {
		return "", "", errors.New(`wants a value in quotes: ="…"`)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
			b.WriteByte('"')
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("no closing quote")
}

func (s *allowedSigner) set(name, value string) (err error) {
	switch {
	case name == "namespaces" && s.namespaces == nil:
		s.namespaces = &value
		return checkPatterns(value)
	case name == "valid-after" && s.after.IsZero():
		s.after, err = parseTime(value)
		return err
	case name == "valid-before" && s.before.IsZero():
		s.before, err = parseTime(value)
		return err
	}
	return errors.New("stands twice")
}

// parseTime reads YYYYMMDD[HHMM[SS]], in this machine's time zone or with a "Z" (or "UTC") at the end in UTC.
func parseTime(s string) (time.Time, error) {
	zone, digits := time.Local, s
	if d, ok := strings.CutSuffix(strings.ToUpper(s), "Z"); ok {
		zone, digits = time.UTC, d
	} else if d, ok := strings.CutSuffix(strings.ToUpper(s), "UTC"); ok {
		zone, digits = time.UTC, d
	}
	const layout = "20060102150405"
	switch len(digits) {
	case 8, 12, 14:
		t, err := time.ParseInLocation(layout[:len(digits)], digits, zone)
		if err == nil && t.Unix() > 0 {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time: write YYYYMMDD[HHMM[SS]][Z]", s)
}

func parseKey(s string) (ssh.PublicKey, error) {
	kind, rest := s, ""
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		kind, rest = s[:i], strings.TrimLeft(s[i:], " \t")
	}
	if i := strings.IndexAny(rest, " \t"); i >= 0 {
		rest = rest[:i] // what follows is a comment
	}
	blob, err := base64.StdEncoding.DecodeString(rest)
	if err != nil || rest == "" {
		return nil, fmt.Errorf("key of type %.60q: no base64", kind)
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("key of type %.60q: %w", kind, err)
	}
	if key.Type() != kind {
		return nil, fmt.Errorf("the key says that its type is %.60q, the line %.60q", key.Type(), kind)
	}
	return key, nil
}

func looksLikeKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-") || strings.HasPrefix(s, "sk-") ||
		strings.HasPrefix(s, "rsa-")
}

// checkKey refuses keys that no signature should rest on.
func checkKey(key ssh.PublicKey) error {
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("certificates are not supported: list the signer's own key")
	}
	if key.Type() == "ssh-dss" {
		return errors.New("DSA keys are broken: make an ed25519 key")
	}
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return fmt.Errorf("an RSA key of %d bits is too short: make an ed25519 key, or one of %d bits", r.N.BitLen(), minRSA)
		}
	}
	return nil
}

// permit reports why the key may not sign as principal in the namespace at that instant; nil if it may. It returns the
// line that decided, or the last one that names the key.
func (f *allowedSigners) permit(key ssh.PublicKey, principal, namespace string, at time.Time) (*allowedSigner, error) {
	blob := string(key.Marshal())
	why := fmt.Errorf("its key %s is not in %s", ssh.FingerprintSHA256(key), f.name)
	var last *allowedSigner
	for i := range f.lines {
		s := &f.lines[i]
		if string(s.key.Marshal()) != blob {
			continue
		}
		last = s
		reason := s.refuses(principal, namespace, at)
		if reason == nil {
			return s, nil
		}
		why = fmt.Errorf("its key %s (%s:%d) %w", ssh.FingerprintSHA256(key), f.name, s.line, reason)
	}
	return last, why
}

func (s *allowedSigner) refuses(principal, namespace string, at time.Time) error {
	switch {
	case !matchList(principal, s.principals):
		return fmt.Errorf("may sign as %.200q, not as %.200q", s.principals, principal)
	case s.namespaces != nil && !matchList(namespace, *s.namespaces):
		return fmt.Errorf("may sign in the namespaces %.200q, not in %q", *s.namespaces, namespace)
	case !s.after.IsZero() && at.Unix() < s.after.Unix():
		return fmt.Errorf("is valid after %s, and it signed at %s", stamp(s.after), stamp(at))
	case !s.before.IsZero() && at.Unix() > s.before.Unix():
		return fmt.Errorf("was valid until %s, and it signed at %s", stamp(s.before), stamp(at))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func checkPatterns(list string) error {
	for p := range strings.SplitSeq(list, ",") {
		if len(strings.TrimPrefix(p, "!")) > maxPattern {
			return fmt.Errorf("a pattern is longer than %d bytes", maxPattern)
		}
	}
	return nil
}

// matchList is match_pattern_list of OpenSSH: some pattern matches, and none of those that "!" negates does.
func matchList(s, list string) bool {
	matched := false
	for p := range strings.SplitSeq(list, ",") {
		p, negated := strings.CutPrefix(p, "!")
		if !matchPattern(s, p) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// matchPattern matches bytes: "*" any number, "?" one. It takes no more than len(s)*len(p) steps.
func matchPattern(s, p string) bool {
	i, j := 0, 0
	star, from := -1, 0 // the last star, and where in s what it swallows ends
	for i < len(s) {
		switch {
		case j < len(p) && p[j] == '*':
			star, from = j, i
			j++
		case j < len(p) && (p[j] == '?' || p[j] == s[i]):
			i++
			j++
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	return strings.Trim(p[j:], "*") == ""
}
