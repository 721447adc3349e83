package evaluate

import (
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestRootsAndProgramsAreRead(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	f := loaded(t, repo(map[string]string{
		"trust/1.root.json": `{"a":1}`, "trust/2.root.json": `{"a":2}`,
		"programs.cue": "package fleet\nanchor: 2\nprograms: \"linux/arm64\": {version: \"1.2.3\", sha256: \"sha256:" + sum +
			"\"}\n",
	}))
	if len(f.Roots) != 2 || string(f.Anchor()) != `{"a":2}` {
		t.Errorf("roots %s, anchor %s", f.Roots, f.Anchor())
	}
	if p := f.Programs[schema.Platform{OS: "linux", Arch: "arm64"}]; p.Version != "1.2.3" || p.SHA256.Hex() != sum {
		t.Errorf("program %+v", p)
	}
}

func TestWrittenKeysAreRead(t *testing.T) {
	k := fleet.Key{Name: "prod-1", Public: testKey, Uses: []string{fleet.UseTargets, fleet.UsePackage},
		Private: "prod-1.key", Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	f := loaded(t, repo(map[string]string{"keys/prod-1.cue": string(fleet.KeyFile(k))}))
	got := f.Keys["prod-1"]
	if got == nil || got.Public != k.Public || !got.Has(fleet.UsePackage) || got.Has(fleet.UseRoot) ||
		got.Private != k.Private || !got.Expires.Equal(k.Expires) {
		t.Errorf("got %+v", got)
	}
	other := k
	other.Name = "copy"
	if got := refused(t, repo(map[string]string{"keys/a.cue": string(fleet.KeyFile(k)),
		"keys/b.cue": string(fleet.KeyFile(other))})); !strings.Contains(got, "is the same key as") {
		t.Errorf("one key under two names: %s", got)
	}
}

// testKey is the public half of a key that nobody has.
const testKey = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

func TestAThresholdIsAtMostTheNumberOfKeys(t *testing.T) {
	k := fleet.Key{Name: "prod-1", Public: testKey, Uses: []string{fleet.UseTargets, fleet.UsePackage}}
	keys := func(thresholds string) map[string]string {
		return map[string]string{"keys/prod-1.cue": string(fleet.KeyFile(k)),
			"keys/thresholds.cue": "package keys\n\nthresholds: " + thresholds + "\n"}
	}
	f := loaded(t, repo(keys("targets: 1")))
	if f.Threshold(fleet.UseTargets) != 1 || f.Threshold(fleet.UseRoot) != 1 {
		t.Errorf("thresholds %v", f.Thresholds)
	}
	for thresholds, want := range map[string]string{
		"targets: 2":                 "keys/thresholds.cue:3:13: thresholds: targets: 2: reconcile signs with all",
		"snapshot: 2":                "thresholds: snapshot: 2: reconcile signs with all of these keys in one run",
		"timestamp: 2":               "leave it out; so that two parties have to agree",
		"root: 2":                    "thresholds: root: 2, but 0 keys have the use root",
		"root: 1":                    "keys/thresholds.cue:3:13: thresholds: root: 1, but 0 keys have the use root",
		"targets: 0":                 "keys/thresholds.cue:3:",
		"package: 1":                 "keys/thresholds.cue:3:",
		"root: 99999999999999999999": "but 0 keys have the use root",
	} {
		if got := refused(t, repo(keys(thresholds))); !strings.Contains(got, want) {
			t.Errorf("%s: %s", thresholds, got)
		}
	}
}

// pointer is how a file of Git LFS starts that is not the file itself.
const pointer = "version https://git-lfs.github.com/spec/v1"
