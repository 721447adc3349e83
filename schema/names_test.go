package schema

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// hostile are names that could mean something to a path, a URL, a shell, a terminal or a log.
var hostile = []string{"", ".", "..", "a..b", ".a", "/", "a/b", `a\b`, "a b", "a\n", "a\x00", "a\tb", "a%2fb", "a?b", "a#b", "a:b",
	"a@b", "a*", "~a", "-a", "ä", "a\u202eb", "a\u2024b", "$a", "a;b", "a'b", `a"b`, "<a>", "a&b"}

func TestHostNames(t *testing.T) {
	for _, s := range []string{"a", "web01", "WEB01", "web-01", "web_01", "_x", "10.1.0.7", "web01.example.com", "0123456789012345",
		"xn--bcher-kva.example", strings.Repeat("a", 253)} {
		if err := CheckHostName(s); err != nil {
			t.Errorf("refused: %v", err)
		}
	}
	for _, s := range append(hostile, "a.", "web01.", strings.Repeat("a", 254)) {
		if CheckHostName(s) == nil {
			t.Errorf("accepted: %q", s)
		}
	}
}

func TestNamesOfKeysSitesRingsUsersAndPlugins(t *testing.T) {
	for _, s := range []string{"a", "prod-2026", "node_exporter", "_x", "a.b", strings.Repeat("a", 63)} {
		if err := CheckName(s); err != nil {
			t.Errorf("refused: %v", err)
		}
	}
	for _, s := range append(hostile, strings.Repeat("a", 64)) {
		if CheckName(s) == nil {
			t.Errorf("accepted: %q", s)
		}
	}
}

func TestAnAcceptedNameIsSafeInAPathAndAURL(t *testing.T) {
	safe := regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9_.-]*\z`)
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9._/ -]{0,20}`)).Draw(r, "name")
		for what, check := range map[string]func(string) error{"host": CheckHostName, "name": CheckName} {
			if check(s) == nil && (!safe.MatchString(s) || strings.Contains(s, "..")) {
				r.Fatalf("%s %q", what, s)
			}
		}
	})
}

func TestPlatforms(t *testing.T) {
	for _, s := range []string{"linux/amd64", "darwin/arm64", "windows/386"} {
		p, err := ParsePlatform(s)
		if err != nil || p.String() != s {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "linux", "/", "linux/", "/amd64", "linux/amd64/v3", "Linux/amd64", "linux/amd64\n", "../..", "li nux/amd64",
		"linux/" + strings.Repeat("a", 17)} {
		if p, err := ParsePlatform(s); err == nil {
			t.Errorf("accepted %q as %v", s, p)
		}
	}
	var none struct{ P Platform }
	if b, err := json.Marshal(none); err != nil || string(b) != `{"P":""}` || json.Unmarshal(b, &none) != nil || none.P != (Platform{}) {
		t.Errorf("no platform: %s, %v, %v", b, err, none)
	}
	if err := json.Unmarshal([]byte(`{"P":"linux"}`), &none); err == nil {
		t.Errorf("half a platform: %v", none)
	}
}

func TestAPlatformHasTheFormatsThatItsSystemInstalls(t *testing.T) {
	for s, want := range map[string][]Format{
		"linux/amd64": {Deb, Rpm, Tgz}, "linux/riscv64": {Deb, Rpm, Tgz}, "linux/mips": {Tgz}, "solaris/amd64": {Pkg, Tgz}, "aix/ppc64": {Tgz},
		"freebsd/amd64": {Tgz}, "darwin/arm64": {Tgz}, "windows/amd64": {Msi}, "windows/arm": nil, "plan9/386": nil,
	} {
		p, err := ParsePlatform(s)
		if got := p.Formats(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", s, got, err, want)
		}
	}
}

func TestARecipeOfDecimalDigitsIsStillText(t *testing.T) {
	b, err := json.Marshal(RecipeID("0123456789012345"))
	if err != nil || string(b) != `"0123456789012345"` {
		t.Errorf("%s, %v", b, err)
	}
	for s, want := range map[RecipeID]bool{"0123456789012345": true, "0123456789abcdef": true, "0123456789ABCDEF": false,
		"": false, "0123456789abcde": false, "0123456789abcdef0": false, "0123456789abcdef\n": false} {
		if s.Valid() != want {
			t.Errorf("%q is valid: %v", s, !want)
		}
	}
}

func TestFormats(t *testing.T) {
	for f, want := range map[Format]bool{Deb: true, Rpm: true, Tgz: true, Pkg: true, "": false, "apk": false, "DEB": false} {
		if f.Valid() != want {
			t.Errorf("%q is valid: %v", f, !want)
		}
	}
}
