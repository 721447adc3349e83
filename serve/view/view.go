package view

import (
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
)

// Schema is the version of these structs' form.
const Schema = 1

// Head is what every answer begins with.
type Head struct {
	Schema    int       `json:"schema"`
	At        time.Time `json:"at"` // as of: the server's clock
	Fleet     string    `json:"fleet"`
	Server    string    `json:"server"`            // version of bakehouse
	Timestamp int64     `json:"timestamp"`         // verified by this server
	Expires   time.Time `json:"expires,omitzero"`  // of the timestamp
	Trouble   string    `json:"trouble,omitempty"` // why the store's newest state is not served
	Off       bool      `json:"off,omitempty"`     // the master switch: the banner of every page
}

// Overview answers: is my fleet where git says it should be?
type Overview struct {
	Head
	Verdict       Verdict          `json:"verdict"`
	Tally         Tally            `json:"tally"`
	NotInGit      int              `json:"notInGit"` // hosts that are registered and in no target; not in Tally.Total
	Attention     []Sentence       `json:"attention"`
	MoreAttention int              `json:"moreAttention,omitempty"` // sentences left out
	Release       *ReleaseRow      `json:"release,omitempty"`       // the newest; nil: the state does not say
	Rings         []Ring           `json:"rings"`
	Sites         []Site           `json:"sites"`
	Versions      []Version        `json:"versions"` // by installed release, the newest first
	Programs      []Count          `json:"programs"` // versions of the host program; "" is not known
	Series        []Point          `json:"series"`   // of hosts up to date with the newest release, the oldest first
	Prerequisites []schema.Finding `json:"prerequisites"`
}

// Codes of Verdict, in the order in which the first that fits is taken.
const (
	VerdictOff       = "off"         // updates are off
	VerdictHalted    = "halted"      // a ring is
	VerdictTrouble   = "trouble"     // the store does not verify
	VerdictAttention = "attention"   // rolling out, and hosts need a look
	VerdictOnTrack   = "on-track"    // rolling out
	VerdictInStep    = "in-step"     // all hosts are up to date, or held by design
	VerdictNotInStep = "not-in-step" // nothing rolls out, and hosts need a look
)

// Verdict is the fleet in one line.
type Verdict struct {
	Code   string `json:"code"`
	Title  string `json:"title"`          // such as "Rolling out, on track"
	Facts  string `json:"facts"`          // "71,882 of 100,214 hosts are up to date"
	Detail string `json:"detail"`         // what the others do, in a sentence or two
	Ring   string `json:"ring,omitempty"` // that is halted
	Look   int    `json:"look"`           // hosts that need a look
}

// Tally counts hosts by state. Every state but not-in-git is listed, zero too, in the order of hosts.States.
type Tally struct {
	Total  int          `json:"total"`
	States []StateCount `json:"states"`
}

// StateCount is a part of a Tally.
type StateCount struct {
	State hosts.State `json:"state"`
	Hosts int         `json:"hosts"`
}

// Of is how many hosts are in that state.
func (t Tally) Of(s hosts.State) int {
	for _, c := range t.States {
		if c.State == s {
			return c.Hosts
		}
	}
	return 0
}

// Sentence is one thing that needs attention: a fact with a number, its cause, and what to do.
type Sentence struct {
	Code  string      `json:"code"`            // of what is grouped; see hosts.Row.Code
	Level hosts.State `json:"level"`           // the state whose icon and colour it has
	Hosts int         `json:"hosts,omitempty"` // 0: it is of no hosts
	Fact  string      `json:"fact"`            // "3 hosts reject release 1042", without its full stop
	Cause string      `json:"cause"`           // whole sentences; may be empty
	Steps []Step      `json:"steps,omitempty"`
}

// Step is what to do or where to look next. Text leads to it, in words.
type Step struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"` // without a prompt
	OnHost  bool   `json:"onHost,omitempty"`  // as root there, else in the repository
	Link    string `json:"link,omitempty"`    // a path with its query on this server
}

// States of Ring and Gate.
const (
	RingDone    = "done"
	RingOpen    = "open"
	RingWaiting = "waiting"
	RingHalted  = "halted"
)

// Ring is a stage of the rollout with its hosts. Name "" is the hosts in no ring.
type Ring struct {
	Name      string          `json:"name"`
	Delay     schema.Duration `json:"delay,omitempty"`
	State     string          `json:"state,omitempty"`    // a Ring… constant; empty for those in no ring
	NotBefore time.Time       `json:"notBefore,omitzero"` // when its signed delay ends
	Opened    time.Time       `json:"opened,omitzero"`
	Tally     Tally           `json:"tally"`
	Gate      *Gate           `json:"gate,omitempty"`   // before it; nil: it has none
	Paused    string          `json:"paused,omitempty"` // by whom, and why
}

// Gate is what lets the next ring in.
type Gate struct {
	State string    `json:"state"` // RingOpen, RingWaiting or RingHalted
	Since time.Time `json:"since,omitzero"`
	For   string    `json:"for"` // what it waits for, or what it saw against which limit
	Saw   *Saw      `json:"saw,omitempty"`
	By    string    `json:"by,omitempty"` // who opened or halted it, if somebody did
}

// Saw is what a gate counted when it decided, or now.
type Saw struct {
	Hosts    int       `json:"hosts"`   // of the ring that count
	Healthy  int       `json:"healthy"` // on this release
	Failed   int       `json:"failed"`
	Rejected int       `json:"rejected"`
	At       time.Time `json:"at"`
}

// Site is a server of the fleet with its hosts.
type Site struct {
	Name       string           `json:"name"`
	URL        string           `json:"url"`
	Central    bool             `json:"central,omitempty"`
	Passwords  bool             `json:"passwords,omitempty"` // users may type theirs to register hosts there
	Tally      Tally            `json:"tally"`
	Silent     bool             `json:"silent,omitempty"`     // its hosts are not known since Contact
	Contact    time.Time        `json:"contact,omitzero"`     // last; zero: there never was one
	Address    string           `json:"address,omitempty"`    // from which it was
	Timestamp  int64            `json:"timestamp,omitempty"`  // that it has; 0: not known
	Behind     int64            `json:"behind,omitempty"`     // versions that it lacks
	Registered int              `json:"registered,omitempty"` // hosts that it knows of
	Reports    *int             `json:"reports,omitempty"`    // waiting there; nil: not known
	Oldest     time.Time        `json:"oldest,omitzero"`      // of them
	Superseded int64            `json:"superseded,omitempty"` // reports dropped for later ones of the same host
	Cache      *Cache           `json:"cache,omitempty"`      // nil: not known
	Program    string           `json:"program,omitempty"`
	Speaks     *schema.Versions `json:"speaks,omitempty"`  // of the wire; nil: not known
	Problem    string           `json:"problem,omitempty"` // that it has, as it says or the centre sees it
}

// Cache is what a site keeps of what its hosts ask for, in bytes.
type Cache struct {
	Bytes   int64 `json:"bytes"`
	Limit   int64 `json:"limit"`
	Objects int   `json:"objects"`
	Hits    int64 `json:"hits"`
	Misses  int64 `json:"misses"`
}

// Version counts the hosts that run a release. Release 0 is those that run nothing of the fleet's.
type Version struct {
	Release int64 `json:"release"`
	Newest  bool  `json:"newest,omitempty"`
	Hosts   int   `json:"hosts"`
}

// Count is how many hosts have a value. The label is the value if it is empty.
type Count struct {
	Value string `json:"value"`
	Label string `json:"label,omitempty"`
	Hosts int    `json:"hosts"`
	// Active says that the page's filter names the value.
	Active bool `json:"active,omitempty"`
}

// Point is how many hosts were up to date with the release that was the newest at that time.
type Point struct {
	At      time.Time `json:"at"`
	Release int64     `json:"release"`
	Hosts   int       `json:"hosts"`
	Total   int       `json:"total"`
}

// HostsPage answers: which hosts are not where they should be?
type HostsPage struct {
	Head
	Query    hosts.Query `json:"query"`
	Total    int         `json:"total"`    // hosts of the fleet
	NotInGit int         `json:"notInGit"` // registered, and not of the fleet
	Matched  int         `json:"matched"`
	Facets   Facets      `json:"facets"`
	Hosts    []hosts.Row `json:"hosts"`
	First    string      `json:"first,omitempty"` // the query of the page's first rows; empty: this is it
	Prev     string      `json:"prev,omitempty"`  // queries such as "state=failed&after=…"; empty: there is none
	Next     string      `json:"next,omitempty"`
}

// Facets count the hosts by each value, under the filters of the other facets. Zero is listed.
type Facets struct {
	State    []Count `json:"state"`
	Ring     []Count `json:"ring"`
	Site     []Count `json:"site"`
	Release  []Count `json:"release"`
	Platform []Count `json:"platform"`
}

// Host answers: why is this host not there, and what do I do now?
type Host struct {
	Head
	hosts.Row
	Newest       int64              `json:"newest"`           // release that it is meant to have
	Heading      string             `json:"heading"`          // why, in one sentence
	Detail       string             `json:"detail,omitempty"` // more of it
	Steps        []Step             `json:"steps"`
	Decision     []Question         `json:"decision"`
	Report       *schema.Report     `json:"report,omitempty"` // what the host says; nil: it never did
	History      []Change           `json:"history"`          // the newest first, at most 20
	Keys         []schema.KeyState  `json:"keys"`             // that it accepts, as it reports
	Registration *Registration      `json:"registration,omitempty"`
	Machines     []Machine          `json:"machines,omitempty"` // that used its registration, if there are several
	Holds        Holds              `json:"holds"`
	Candidates   []schema.Candidate `json:"candidates"` // what signed metadata give it, the newest first
	Was          []string           `json:"was,omitempty"`
	SiteURL      string             `json:"siteURL,omitempty"`
	Explain      string             `json:"explain"` // the command that says which rule set what
}

// Holds are the versions of metadata that a host has verified.
type Holds struct {
	Root      int64 `json:"root"`
	Timestamp int64 `json:"timestamp"`
}

// Answers of Question.
const (
	Yes      = "yes"
	No       = "no"
	NotAsked = "not-asked"
)

// Question is a step of the decision, in the order of Policy.Decide and what comes after it.
type Question struct {
	Code   string `json:"code"` // switch, selected, ring, delay, gate, server, package, signatures or install
	Text   string `json:"text"`
	Answer string `json:"answer"`           // Yes, No or NotAsked
	Detail string `json:"detail,omitempty"` // why not
	Source string `json:"source,omitempty"` // what says so: a signed target, the server, the host
}

// Change is an entry of a host's history.
type Change struct {
	At      time.Time   `json:"at"`
	State   hosts.State `json:"state"`
	Code    string      `json:"code,omitempty"`
	Release int64       `json:"release,omitempty"` // installed then; 0: none
	Text    string      `json:"text,omitempty"`
}

// Registration says who registered a host.
type Registration struct {
	At      time.Time `json:"at"`
	User    string    `json:"user"`
	Program string    `json:"program,omitempty"` // version of the host program then
}

// Machine is one that reported under a host's name.
type Machine struct {
	ID      string    `json:"id"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Address string    `json:"address,omitempty"`
}

// Releases lists what was published, the newest first.
type Releases struct {
	Head
	Releases []ReleaseRow `json:"releases"`
	Next     string       `json:"next,omitempty"` // query of the older ones; empty: there are none
}

// ReleaseRow is a release in a line. What the store has no longer is zero.
type ReleaseRow struct {
	Number       int64     `json:"number"`
	Newest       bool      `json:"newest,omitempty"`
	Commit       string    `json:"commit,omitempty"`
	Subject      string    `json:"subject,omitempty"`
	Author       string    `json:"author,omitempty"`
	CommitKey    string    `json:"commitKey,omitempty"` // that the commit's signature names, unverified
	Issued       time.Time `json:"issued,omitzero"`
	Tool         string    `json:"tool,omitempty"`
	PackageCount int       `json:"packageCount,omitempty"` // different ones that hosts are given; only of the newest
	SignedBy     []string  `json:"signedBy,omitempty"`     // keys that signed all of them; only of the newest
	Hosts        int       `json:"hosts"`                  // that run it
	Rollout      string    `json:"rollout,omitempty"`      // "done", "rolling", "halted", "superseded"
	Text         string    `json:"text,omitempty"`         // of Rollout, for people
}

// Release is one of them in full.
type Release struct {
	Head
	ReleaseRow
	Plan     *schema.AboutPlan     `json:"plan,omitempty"`
	Changes  []string              `json:"changes"` // the plan in sentences
	Findings []schema.AboutFinding `json:"findings"`
	Keys     []schema.AboutKey     `json:"keys"`              // of the fleet
	Compare  string                `json:"compare,omitempty"` // the command that says what it changes
	Packages []PackageRow          `json:"packages"`          // the most used first; of what hosts are given only
}

// PackageRow is a package in a line.
type PackageRow struct {
	SHA256   schema.Digest   `json:"sha256"`
	Release  int64           `json:"release"`
	Platform schema.Platform `json:"platform"`
	Format   schema.Format   `json:"format"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Size     int64           `json:"size"`
	Hosts    int             `json:"hosts"`    // that are meant to have it
	SignedBy []string        `json:"signedBy"` // names of keys
}

// Package is one of them in full.
type Package struct {
	Head
	PackageRow
	Manifest   schema.Digest   `json:"manifest"`
	Recipe     schema.RecipeID `json:"recipe"`
	Bake       int             `json:"bake"`
	Revoked    bool            `json:"revoked,omitempty"`
	Tally      Tally           `json:"tally"` // of the hosts that are meant to have it
	Installed  int             `json:"installed"`
	Plugins    []string        `json:"plugins"`
	Files      []File          `json:"files"` // by path; nil: the store does not say
	Signatures []Signature     `json:"signatures"`
	Example    string          `json:"example,omitempty"` // a host that is meant to have it
}

// File is a file of a package.
type File struct {
	schema.ContentsEntry
	Shared bool `json:"shared,omitempty"` // in a segment that other packages can share
}

// Signature is a statement on a package that verifies.
type Signature struct {
	Key   string `json:"key"` // name, or the start of its id where the fleet has no name for it
	KeyID string `json:"keyid"`
	// Hosts are those of the package's hosts that accept the key, by what they report; nil: none has reported.
	Hosts *int `json:"hosts,omitempty"`
}
