package judge

import (
	"fmt"
	"strings"
	"time"

	"bakehouse/schema"
)

// What is said of a state.
const (
	Clean    = "clean"
	Alarm    = "alarm"    // something does not follow from the commit and the state before
	Unjudged = "unjudged" // another version of the program made it, or a shallow clone hides its commit
)

// Entry is one thing that is said of a state.
type Entry struct {
	Host   string `json:"host,omitempty"` // empty: it concerns all
	Field  string `json:"field"`          // such as "older", "policy.revoked" or "commit"
	Reason string `json:"reason"`
}

func (e Entry) String() string {
	if e.Host == "" {
		return e.Field + ": " + e.Reason
	}
	return fmt.Sprintf("host %s: %s: %s", e.Host, e.Field, e.Reason)
}

// Verdict is what is said of the state behind one timestamp.
type Verdict struct {
	Timestamp int64         `json:"timestamp"`
	SHA256    schema.Digest `json:"sha256"` // of the timestamp's file
	Release   int64         `json:"release"`
	Commit    string        `json:"commit"`
	Tool      string        `json:"tool"` // version that the release says made it
	Issued    time.Time     `json:"issued"`
	Renewal   bool          `json:"renewal"`  // it says nothing that the state before did not
	Reset     bool          `json:"reset"`    // it carries nothing forward but numbers, as after `reconcile recover`
	Restored  bool          `json:"restored"` // its numbers are far above those before, as after `recover --above`
	Status    string        `json:"verdict"`
	Alarms    []Entry       `json:"alarms"`
	Unjudged  []Entry       `json:"unjudged"` // why it cannot be judged
	// Unknown is what no state that the store keeps can show any more: older candidates that were given before.
	Unknown []Entry `json:"unknown"`

	foreign string // not empty: what differs may be due to the other program that made it
}

func (v *Verdict) alarm(host, field, format string, args ...any) {
	v.Alarms = append(v.Alarms, Entry{host, field, fmt.Sprintf(format, args...)})
}

func (v *Verdict) unjudged(host, field, format string, args ...any) {
	v.Unjudged = append(v.Unjudged, Entry{host, field, fmt.Sprintf(format, args...)})
}

// differs notes what is not as this program makes it.
func (v *Verdict) differs(entries ...Entry) {
	switch {
	case len(entries) == 0:
	case v.foreign == "":
		v.Alarms = append(v.Alarms, entries...)
	case len(v.Unjudged) == 0:
		v.unjudged("", "tool", "%s, and something differs (%s)", v.foreign, entries[0])
	}
}

func (v *Verdict) settle() {
	v.Status = Clean
	if len(v.Unjudged) > 0 {
		v.Status = Unjudged
	}
	if len(v.Alarms) > 0 {
		v.Status = Alarm
	}
}

// Summary is v in a line.
func (v *Verdict) Summary() string {
	what := fmt.Sprintf("release %d of commit %.12s", v.Release, v.Commit)
	switch {
	case v.Release == 0:
		what = "not readable"
	case v.Renewal:
		what = fmt.Sprintf("renewal of release %d", v.Release)
	}
	if v.Reset {
		what += ", carrying nothing forward"
	}
	if v.Restored {
		what += ", above all numbers before"
	}
	return fmt.Sprintf("timestamp %d: %s: %s", v.Timestamp, what, map[string]string{Clean: "clean", Alarm: "ALARM",
		Unjudged: "cannot judge"}[v.Status])
}

// Lines are all that v says, a line each.
func (v *Verdict) Lines() []string {
	lines := []string{v.Summary()}
	for _, e := range v.Alarms {
		lines = append(lines, "  "+e.String())
	}
	for _, e := range v.Unjudged {
		lines = append(lines, "  cannot judge: "+e.String())
	}
	for _, e := range v.Unknown {
		lines = append(lines, "  not known: "+e.String())
	}
	return lines
}

// Text is v for people.
func (v *Verdict) Text() string { return strings.Join(v.Lines(), "\n") + "\n" }
