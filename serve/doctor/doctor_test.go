package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func well() Facts {
	return Facts{Now: t0, Policy: &schema.Policy{Enabled: true}, Expires: t0.Add(6 * 24 * time.Hour),
		Ends: t0.Add(60 * 24 * time.Hour), Hosts: 3,
		About: &schema.About{Keys: []schema.AboutKey{{Name: "release", Uses: []string{"package"},
			Expires: t0.Add(365 * 24 * time.Hour)}}}}
}

// authority is a certificate that ends then, as PEM.
func authority(t *testing.T, end time.Time) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Site CA"}, NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestAFleetThatIsWellHasNothingToDo(t *testing.T) {
	for _, v := range Findings(well()) {
		if v.Level != schema.LevelHolds || v.Fix != "" || v.Title == "" || v.Detail == "" {
			t.Errorf("%+v", v)
		}
	}
}

func TestWhatIsMissingIsSaidWithItsFixAndNothingElse(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Facts)
		code   string
		level  string
		detail string
	}{
		"no key": {func(f *Facts) { f.About.Keys = nil }, "keys", schema.LevelMissing, "0 of 0"},
		"a key that ends": {func(f *Facts) { f.About.Keys[0].Expires = t0.Add(time.Hour) },
			"key-expiry", schema.LevelSoon, "release ends on 2 Jan 2030"},
		"warnings of check": {func(f *Facts) {
			f.About.Findings = []schema.AboutFinding{{Message: "web01 has no rule"}}
		}, "checked", schema.LevelSoon, "1: web01 has no rule"},
		"a host too few": {func(f *Facts) { f.Unregistered, f.NotInGit = 1, 2 },
			"registered", schema.LevelMissing, "2 of 3; 2 more"},
		"the switch": {func(f *Facts) { f.Policy.Enabled = false },
			"enabled", schema.LevelMissing, "is off"},
		"a wrong name": {func(f *Facts) { f.Certificate = "is for b" },
			"certificate", schema.LevelMissing, "is for b"},
		"a certificate's end": {func(f *Facts) { f.Ends = t0.Add(time.Hour) },
			"certificate", schema.LevelSoon, "ends on"},
		"metadata's end": {func(f *Facts) { f.Expires = t0.Add(time.Hour) },
			"metadata", schema.LevelSoon, "ends on"},
		"expired metadata": {func(f *Facts) { f.Expires = t0 }, "metadata", schema.LevelMissing, "ended on"},
		"a damaged store":  {func(f *Facts) { f.Trouble = "altered" }, "store", schema.LevelMissing, "altered"},
		"an authority's end": {func(f *Facts) {
			f.Policy.Sites = map[string]schema.Site{"sin": {Certificates: authority(t, t0.Add(20*24*time.Hour))}}
			f.Heard = map[string]time.Time{"sin": t0}
		}, "authorities", schema.LevelSoon, `site sin: "Site CA" ends on 22 Jan 2030`},
		"a silent site": {func(f *Facts) {
			f.Policy.Sites = map[string]schema.Site{schema.CentralSite: {}, "sin": {}, "nyc": {}}
			f.Heard = map[string]time.Time{"sin": t0.Add(-time.Hour), "nyc": t0}
			f.Silent = map[string]time.Time{"sin": t0.Add(-time.Hour)}
		}, "sites", schema.LevelMissing, "1 of 2; silent: sin since 2030-01-02T02:04:05Z"},
		"a site that nobody started": {func(f *Facts) { f.Policy.Sites = map[string]schema.Site{"sin": {}} },
			"sites", schema.LevelSoon, "0 of 1; never heard of: sin"},
		"no database": {func(f *Facts) { f.Database = errors.New("x") },
			"database", schema.LevelMissing, "does not"},
	} {
		t.Run(what, func(t *testing.T) {
			f := well()
			c.change(&f)
			list := Findings(f)
			i := slices.IndexFunc(list, func(v schema.Finding) bool { return v.Level != schema.LevelHolds })
			if i < 0 || list[i].Code != c.code || list[i].Level != c.level ||
				!strings.Contains(list[i].Detail, c.detail) || list[i].Fix == "" {
				t.Fatalf("%+v", list)
			}
			for _, v := range list[i+1:] {
				if v.Level != schema.LevelHolds {
					t.Errorf("also: %+v", v)
				}
			}
		})
	}
}
