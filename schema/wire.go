package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Versions is a range of versions of the requests and answers below. A request names what its sender speaks; the answer
// is in the highest version that both speak, and says which.
type Versions struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// WireVersions is what this program speaks.
func WireVersions() Versions { return Versions{1, 1} }

// Common is the highest version in both ranges; ok is false if there is none.
func (v Versions) Common(o Versions) (version int, ok bool) {
	version = min(v.Max, o.Max)
	return version, version >= 1 && version >= v.Min && version >= o.Min
}

func (v Versions) String() string {
	if v.Min == v.Max {
		return "version " + strconv.Itoa(v.Min)
	}
	return "versions " + strconv.Itoa(v.Min) + " to " + strconv.Itoa(v.Max)
}

// RegisterRequest is sent once per host, with a user's name and password or secret (HTTP Basic) or with a join token
// (HTTP Bearer: a server that knows none takes it for nobody).
type RegisterRequest struct {
	Schema   Versions `json:"schema"`
	Host     string   `json:"host"`
	Platform Platform `json:"platform"`
	Agent    string   `json:"agent"` // version of the host program

	// Replace says that the registration of a host that polls is to be replaced: it was set up again. Without it the
	// answer is 409, so that nobody takes a host's place by a typo.
	// Only users who could revoke that registration may say so.
	Replace bool `json:"replace,omitempty"`
	// Secret is the one that the host has of this server, if it has one: then nobody's place is taken.
	Secret string `json:"secret,omitempty"`
}

// RegisterAnswer carries the host secret, which nobody else ever sees again, and the host's site if it is known.
type RegisterAnswer struct {
	Schema int    `json:"schema"`
	Secret string `json:"secret"`
	Site   string `json:"site,omitempty"`
}

// PollRequest carries the host's report, with the host's name and secret (HTTP Basic).
type PollRequest struct {
	Schema Versions `json:"schema"`
	MetadataVersions
	Held     bool   `json:"held,omitempty"`
	HoldCode string `json:"holdCode,omitempty"` // of the last answer, if Held
	Report   Report `json:"report"`
}

// MetadataVersions are those of the TUF files that a host holds, of its own bin among the bins; 0: none. Root and
// Timestamp are verified, the others only say which differences the host can use.
type MetadataVersions struct {
	Root      int64 `json:"root"`
	Timestamp int64 `json:"timestamp"`
	Snapshot  int64 `json:"snapshot,omitempty"`
	Targets   int64 `json:"targets,omitempty"`
	Bin       int64 `json:"bin,omitempty"`
}

// PollAnswer is the body of a 200; a 204 says that nothing is new for the host.
type PollAnswer struct {
	Schema int    `json:"schema"`
	Root   int64  `json:"root"`           // newest version published
	Hold   string `json:"hold,omitempty"` // why this server holds the host back; empty: it does not
	// Which kind of hold it is: an outcome's code, empty for one that has none. Programs that do not know it hold all
	// the same.
	HoldCode string `json:"holdCode,omitempty"`
	// When the server wants to hear of the host again, in seconds; 0: when the host's interval is over. A host comes no
	// later than that interval, and not more than once a minute.
	Next  int64      `json:"next,omitempty"`
	Site  string     `json:"site,omitempty"` // the host's site; its URL and certificates stand in signed policy
	Name  string     `json:"name,omitempty"` // the host's present name, if it polls under a former one; see Target.Was
	Files []PollFile `json:"files,omitempty"`
}

// PollFile is a file that a newer release has for the host, so that it need not ask for each. The host asks all the
// same for what is not here or does not verify. Names are "timestamp.json" (if it is absent, the host has the newest),
// "N.ROLE.json" of roots, snapshot, targets and the host's own bin, and "HEX.policy".
type PollFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`

	// Data is gzip, or the difference (package delta) to the host's file of that version, the policy's of the targets of
	// that version; neither: the file itself.
	Gzip    bool  `json:"gzip,omitempty"`
	Against int64 `json:"against,omitempty"`
}

// PackageAnswer is what a package is checked by before anything else of it is fetched. Manifest is in the form that
// DecodeManifest takes, or the difference (package delta) of what that inflates to. It is absent if the host has named
// it by HaveManifest: further keys may have signed since.
type PackageAnswer struct {
	Manifest   []byte    `json:"manifest,omitempty"`
	Against    Digest    `json:"against,omitzero"` // the manifest that Manifest is the difference to
	Statements Envelopes `json:"statements"`       // DSSE envelopes, without what Statement.Restore puts back
}

// Envelopes are at most MaxEnvelopes.
type Envelopes []json.RawMessage

// UnmarshalJSON refuses a longer list before it is in memory: each entry costs much more there than in a list that is
// made for that.
func (e *Envelopes) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); t == nil || err != nil {
		return err
	} else if t != json.Delim('[') {
		return errors.New("the envelopes are no list")
	}
	for *e = nil; d.More(); {
		if len(*e) == MaxEnvelopes {
			return fmt.Errorf("more than %d envelopes", MaxEnvelopes)
		}
		var one json.RawMessage
		if err := d.Decode(&one); err != nil {
			return err
		}
		*e = append(*e, one)
	}
	return nil
}

// Report is what a host says of itself. Release names the release that the report describes.
type Report struct {
	Agent      string    `json:"agent"`
	Platform   Platform  `json:"platform"`
	State      string    `json:"state"` // a State… constant
	Code       string    `json:"code,omitempty"`
	Error      string    `json:"error,omitempty"`
	Target     Digest    `json:"target"`
	Downloaded Digest    `json:"downloaded"`
	Installed  Digest    `json:"installed"`
	Recipe     RecipeID  `json:"recipe,omitempty"` // of the installed package
	Release    int64     `json:"release,omitempty"`
	Fetched    int64     `json:"fetched,omitempty"` // body bytes that the last update read from the server
	LastCheck  time.Time `json:"lastCheck,omitzero"`
	LastUpdate time.Time `json:"lastUpdate,omitzero"`
	NextCheck  time.Time `json:"nextCheck,omitzero"` // give or take a tenth of the interval
	HeldSince  time.Time `json:"heldSince,omitzero"` // kept from releases by what nobody signed
	Critical   bool      `json:"critical,omitempty"` // for longer than signed policy allows
	Machine    string    `json:"machine,omitempty"`  // which it is: equal for one machine; empty: it has no id
	Details    *Details  `json:"details,omitempty"`  // nil: as they were sent last
}

// Details are the part of a report that seldom changes. A host sends them when they are not what this server last took
// from it, and once a day in any case.
type Details struct {
	Interval int64              `json:"interval"` // seconds between two checks
	Keys     []KeyState         `json:"keys,omitempty"`
	Ignored  []IgnoredSignature `json:"ignored,omitempty"` // on the package that was last looked at
	Previous Digest             `json:"previous,omitzero"` // the package that a rollback would install
	Snapshot Digest             `json:"snapshot,omitzero"` // of the file that the host verified: equal versions hide
	Bin      Digest             `json:"bin,omitzero"`      // a server that shows two hosts two states
	LogTail  string             `json:"logTail,omitempty"` // of the last failure, at most MaxLogTail bytes
	Drift    string             `json:"drift,omitempty"`   // how the package is not as it was installed, or was not
	Repaired time.Time          `json:"repaired,omitzero"` // when it was installed again for that
	Stopped  []string           `json:"stopped,omitempty"` // services that an administrator stopped or disabled
	Paused   *Pause             `json:"paused,omitempty"`  // by an administrator of the host; nil: it is not
	Log      *TreeHead          `json:"log,omitempty"`
}

// Pause is that an administrator of a host wants nothing installed there for a while.
type Pause struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until somebody ends it
	Reason string    `json:"reason,omitempty"`
}

// Ended reports whether p is over at the time now.
func (p *Pause) Ended(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }

func (p *Pause) String() string {
	s := "paused on this host since " + p.Since.UTC().Format(time.RFC3339)
	if !p.Until.IsZero() {
		s += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	if p.Reason != "" {
		s += ": " + p.Reason
	}
	return s
}

// KeyState is a signature key that a host accepts. Its expiry is shown, and never a reason to refuse.
type KeyState struct {
	Name    string    `json:"name"`
	State   string    `json:"state"` // a Key… constant
	Expires time.Time `json:"expires,omitzero"`
}

// IgnoredSignature is a signature that did not count, and why.
type IgnoredSignature struct {
	Key    string `json:"key"` // who is said to have made it
	Reason string `json:"reason"`
}

// TreeHead is the state of the fleet's transparency log that a host has seen. Reserved: no host reports one yet, and
// what is reported is kept.
type TreeHead struct {
	Size int64  `json:"size"`
	Root Digest `json:"root"`
}

// Outcome codes that are reserved for the transparency log. No host reports them yet.
const (
	CodeUnlogged    = "unlogged"    // the release is not in the log
	CodeUnwitnessed = "unwitnessed" // too few witnesses have signed the log's state
	CodeLogFork     = "log-fork"    // the log shows two states that cannot both be true
)

// Bounds of Details, on hosts and servers.
const (
	MaxLogTail = 4 << 10 // bytes
	MaxKeys    = 16
	MaxIgnored = 16
	MaxDrift   = 1000 // bytes
	MaxStopped = 32
)

// Bounds of answers.
const (
	MaxEnvelopes = 64 // statements on one package, and signatures in them
	MaxPollFiles = 64
)

// States of a host, in reports and on status pages.
const (
	StateNew     = "new"     // registered, never updated
	StateCurrent = "current" // observed = desired
	StateHeld    = "held"    // policy or server holds it back
	StateRefused = "refused" // something did not verify
	StateFailed  = "failed"  // anything else went wrong
)

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}
