// Package uplink is what a remote site asks its centre, and what it says of itself. It speaks as an automation user
// with the permission site, for the site that it names; what the centre lets it read is what that site's hosts may
// read.
//
//	POST PollPath      the site's state and the reports of its hosts, for what is new: a timestamp, how far
//	                   releases may go, and who is registered
//	POST AdoptPath     a host that came to the site with a secret: is it registered with that?
//	POST RegisterPath  a registration as it came to the site, with the credentials of who registers the host
//
// All that a host may read is read under the host's own paths, with SiteHeader and HostHeader beside the user's name
// and secret.
package uplink

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"bakehouse/schema"
)

// Paths under the centre's URL.
const (
	PollPath     = "/v1/site/poll"
	AdoptPath    = "/v1/site/adopt"
	RegisterPath = "/v1/site/register"
)

// Request headers of a site.
const (
	SiteHeader = "Bakehouse-Site" // the site's name
	HostHeader = "Bakehouse-For"  // the host of the site for which something is read
)

// Bounds, in bytes and numbers.
const (
	MaxReports       = schema.MaxWire / 2 // of reports in one poll, as JSON
	MaxRegistrations = 300                // in one answer
	MaxVerdicts      = schema.MaxWire / 3 // of bodies in one answer
	MaxInstance      = 64
	MaxProblem       = 500
)

// PollRequest is what a site sends each few seconds. Nothing in it that a site says of others than its own hosts
// counts.
type PollRequest struct {
	Schema   schema.Versions `json:"schema"`
	Instance string          `json:"instance"` // random, kept by the site: two sites with one name differ in it
	Status   Status          `json:"status"`

	Cursor   string        `json:"cursor,omitempty"`   // of the last answer
	Hosts    schema.Digest `json:"hosts,omitzero"`     // SumOf the registrations that the site holds
	Verdicts string        `json:"verdicts,omitempty"` // Sum of the verdicts that it holds

	Reports []HostReport `json:"reports,omitempty"` // the oldest first
}

// Status is what a site says of itself.
type Status struct {
	Program   string          `json:"program"` // version of the program
	Speaks    schema.Versions `json:"speaks"`  // to hosts and to its centre
	Started   time.Time       `json:"started"`
	Now       time.Time       `json:"now"`       // by its clock
	Timestamp int64           `json:"timestamp"` // that it serves; behind the centre's: it lags
	Root      int64           `json:"root"`
	Hosts     int             `json:"hosts"` // that are registered, as far as the site knows
	Cache     Cache           `json:"cache"`
	Spool     Spool           `json:"spool"`
	Problem   string          `json:"problem,omitempty"` // what people should know, in one line
}

// Cache is what a site keeps of what its hosts asked for. Bytes and Limit are in bytes.
type Cache struct {
	Bytes   int64 `json:"bytes"`
	Limit   int64 `json:"limit"`
	Objects int   `json:"objects"`
	Hits    int64 `json:"hits"`   // since it started
	Misses  int64 `json:"misses"` // since it started: what was fetched from the centre
}

// Spool is what a site has to report to its centre. Superseded counts the reports that were dropped for newer ones of
// the same host, since the site was set up: it was cut off for so long that they had no room.
type Spool struct {
	Reports    int       `json:"reports"`
	Oldest     time.Time `json:"oldest,omitzero"`
	Superseded int64     `json:"superseded,omitempty"`
}

// HostReport is what a host said at a poll, with the number that the site gave it.
type HostReport struct {
	Number    int64         `json:"number"`
	Host      string        `json:"host"`
	At        time.Time     `json:"at"`
	Address   string        `json:"address"` // whence it polled
	Timestamp int64         `json:"timestamp"`
	Root      int64         `json:"root"`
	Report    schema.Report `json:"report"`
}

// PollAnswer is what is new for a site.
type PollAnswer struct {
	Schema    int       `json:"schema"`
	Now       time.Time `json:"now"`
	Root      int64     `json:"root"`                // newest version published
	Timestamp []byte    `json:"timestamp,omitempty"` // the newest, if the site serves another one
	Taken     int64     `json:"taken,omitempty"`     // number of the last report that is on the centre's disk
	Problem   string    `json:"problem,omitempty"`   // what is wrong with the site, as the centre sees it

	// Registrations of the site's hosts that the site has otherwise or not at all, and hosts that are its no more. All
	// says that what came before does not count. More says that there is more: the next request asks for it by Cursor.
	Cursor string         `json:"cursor,omitempty"`
	All    bool           `json:"all,omitempty"`
	More   bool           `json:"more,omitempty"`
	Hosts  []Registration `json:"hosts,omitempty"`
	Gone   []string       `json:"gone,omitempty"`

	Verdicts *Verdicts `json:"verdicts,omitempty"` // nil: those that the site holds
}

// Registration is one of a host of the site's. Secret is the SHA-256 of its secret.
type Registration struct {
	Host     string          `json:"host"`
	Name     string          `json:"name,omitempty"` // by which the fleet lists it now, if that is another one
	Secret   schema.Digest   `json:"secret"`
	User     string          `json:"user"`
	Token    string          `json:"token,omitempty"`
	Platform schema.Platform `json:"platform"`
	Agent    string          `json:"agent"`
	At       time.Time       `json:"at"`
}

// SumOf is the digest of registrations, for comparison.
func SumOf(hosts map[string]Registration) (sum schema.Digest) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		b, err := json.Marshal(hosts[name])
		if err != nil {
			panic(err) // our own type
		}
		h.Write(append(b, '\n'))
	}
	return schema.Digest(h.Sum(nil))
}

// Verdicts are how far releases may go, as the centre's servers keep it. What has none is held where rings have gates.
type Verdicts struct {
	Sum  string    `json:"sum"`
	List []Verdict `json:"list"`
}

// Verdict is one. Body is JSON.
type Verdict struct {
	Name    string          `json:"name"`
	Version int64           `json:"version"`
	Body    json.RawMessage `json:"body"`
}

// SumVerdicts is what Verdicts.Sum has of a list.
func SumVerdicts(list []Verdict) string {
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // bodies are JSON
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// AdoptRequest asks whether a host that came to the site is registered. Secret is the SHA-256 of the secret that it
// showed. It is answered with its Registration: the host is one of the site's for as long as it polls there.
type AdoptRequest struct {
	Host   string        `json:"host"`
	Secret schema.Digest `json:"secret"`
}

// RegisterRequest is a registration as it came to a site. Authorization is the header with the credentials of who
// registers the host. The answer is that to Request: a site needs nothing else of it than the host does.
type RegisterRequest struct {
	Address       string                 `json:"address"` // whence it came
	Authorization string                 `json:"authorization"`
	Request       schema.RegisterRequest `json:"request"`
}
