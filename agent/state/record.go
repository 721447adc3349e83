package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Files in StateDir.
const (
	RecordFile   = "state.json"
	IdentityFile = "registration.json" // who the host is, once more: what no update writes, and none can learn anew
	LogFile      = "agent.log"         // the updater's
)

// RecordSchema is the version of RecordFile's form.
const RecordSchema = 1

const (
	maxRecord = 4 << 20
	maxFailed = 64
)

// Record is RecordFile.
type Record struct {
	Schema       int           `json:"schema"`
	Registration *Registration `json:"registration,omitempty"`
	Bootstrap    *Bootstrap    `json:"bootstrap,omitempty"`
	Installed    *Installed    `json:"installed,omitempty"`
	Previous     *Installed    `json:"previous,omitempty"`
	Pending      *Pending      `json:"pending,omitempty"`
	Failed       []Failure     `json:"failed,omitempty"` // releases that failed here or were rolled back manually
	Waiting      *Waiting      `json:"waiting,omitempty"`
	Hold         string        `json:"hold,omitempty"` // why the server holds this host back, as it last said
	Withheld     *Withheld     `json:"withheld,omitempty"`
	Root         int64         `json:"root,omitempty"` // verified versions, for status
	Timestamp    int64         `json:"timestamp,omitempty"`
	Snapshot     schema.Digest `json:"snapshot,omitzero"` // of the verified metadata files, for reports
	Bin          schema.Digest `json:"bin,omitzero"`
	LastCheck    time.Time     `json:"lastCheck,omitzero"`
	LastUpdate   time.Time     `json:"lastUpdate,omitzero"`
	Last         Outcome       `json:"last,omitzero"`
	Fetched      int64         `json:"fetched,omitempty"` // bytes that the last installation, or attempt at one, fetched
	LogTail      string        `json:"logTail,omitempty"` // of the last failure
	Reported     *Reported     `json:"reported,omitempty"`

	Ignored []schema.IgnoredSignature `json:"ignored,omitempty"` // on the package that was last looked at

	Healed error `json:"-"` // why RecordFile could not be read, and only IdentityFile was; nil: it could
}

// identity is IdentityFile.
type identity struct {
	Schema       int           `json:"schema"`
	Registration *Registration `json:"registration"`
	Bootstrap    *Bootstrap    `json:"bootstrap,omitempty"`
}

// Failure is a release that must not be installed again by itself, and why.
type Failure struct {
	Release int64  `json:"release"`
	Why     string `json:"why,omitempty"`
}

// Waiting is a package that the host itself stopped in the middle, and which is tried again by itself.
type Waiting struct {
	Package schema.Digest `json:"package"`
	Tries   int           `json:"tries"`
	Next    time.Time     `json:"next"` // not before
	Why     string        `json:"why"`
}

// Reported says which details of its reports the host last gave to a server.
type Reported struct {
	Server  string        `json:"server"`
	Details schema.Digest `json:"details"`
	At      time.Time     `json:"at"`
}

// Registration is what register agreed with the server.
type Registration struct {
	Server       string    `json:"server"`
	Host         string    `json:"host"`
	Secret       string    `json:"secret"`
	Site         string    `json:"site,omitempty"`
	Certificates []string  `json:"certificates,omitempty"` // PEM, from --ca
	At           time.Time `json:"at"`
}

// Bootstrap is what a host without a package verifies its first one with.
type Bootstrap struct {
	Anchor []byte               `json:"anchor"` // root metadata
	Keys   []schema.AcceptedKey `json:"keys"`
}

// Installed is a package that was installed from here.
type Installed struct {
	Package  schema.Digest   `json:"package"`
	Manifest schema.Digest   `json:"manifest"`
	Recipe   schema.RecipeID `json:"recipe"`
	Release  int64           `json:"release"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Format   schema.Format   `json:"format"`
	At       time.Time       `json:"at,omitzero"`
}

// Pending is an installation that was begun. It is written before the system is touched.
type Pending struct {
	Installed
	Attempts int `json:"attempts"`
}

// String says which package it is in a few words.
func (i *Installed) String() string {
	if i == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s (%s), release %d, package %s, recipe %s",
		i.Name, i.Version, i.Format, i.Release, i.Package.Short(), i.Recipe)
}

// Outcome is how an update ended: a State… constant, and why.
type Outcome struct {
	State      string        `json:"state"`
	Code       string        `json:"code,omitempty"`
	Why        string        `json:"why,omitempty"`
	Error      string        `json:"error,omitempty"`
	Target     schema.Digest `json:"target,omitzero"`
	Downloaded schema.Digest `json:"downloaded,omitzero"`
}

// Withheld remembers since when this host has been kept from its fleet's releases by something that nobody signed.
// What is signed, such as the master switch, the selection, a ring's delay or a revocation, is the operator's
// decision and no such thing, however long it stands; nor is what fails on the host itself, which it reports as that.
//
// Policy's maxHold is how long that may last. After it the host is critical: it says so in its reports, its status and
// the exit code of that. It installs nothing for it: whoever can keep a host from the server could else choose when.
type Withheld struct {
	Since time.Time       `json:"since,omitzero"` // zero: the clock was behind what is signed
	Code  string          `json:"code"`           // of the last outcome
	Limit schema.Duration `json:"limit,omitempty"`
}

// Critical says that w has lasted too long at the time now; empty if it has not.
func (w *Withheld) Critical(now time.Time) string {
	if w == nil || w.Limit <= 0 || w.Since.IsZero() || now.Sub(w.Since) <= time.Duration(w.Limit) {
		return ""
	}
	return fmt.Sprintf("held back since %s (%s), longer than the %s that the fleet allows",
		w.Since.UTC().Format(time.RFC3339), w.Code, w.Limit)
}

// Record reads RecordFile. If it is missing or damaged, as after a power cut, who the host is comes from IdentityFile,
// and the next update learns the rest anew; if both are missing, the record is empty.
func (f Files) Record() (*Record, error) {
	r, err := f.record()
	if r != nil && r.Registration != nil || err != nil && !errors.As(err, new(*damagedError)) {
		return r, err
	}
	b, ierr := ReadFile(f.Stored(IdentityFile), maxRecord)
	if ierr != nil || b == nil {
		return r, err
	}
	var id identity
	if ierr := schema.Decode(b, &id); ierr != nil || id.Schema != RecordSchema || id.Registration.check() != nil {
		return r, err
	}
	if err == nil {
		err = fmt.Errorf("%s is missing, or has no registration", f.Stored(RecordFile))
	}
	return &Record{Schema: RecordSchema, Registration: id.Registration, Bootstrap: id.Bootstrap, Healed: err}, nil
}

// damagedError says that RecordFile is there and cannot be understood.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

func (f Files) record() (*Record, error) {
	if err := checkDir(f.Stored()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &Record{Schema: RecordSchema}, nil
		}
		return nil, err
	}
	name := f.Stored(RecordFile)
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &Record{Schema: RecordSchema}, nil
	}
	if err != nil {
		return nil, NeedRoot(err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxRecord))
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(b)
	if err != nil {
		return nil, &damagedError{fault.Hint(fmt.Errorf("%s is damaged: %w", name, err),
			"register again with bakehouse-agent register --force; the next update then installs the package again")}
	}
	return r, nil
}

func decodeRecord(b []byte) (*Record, error) {
	r := &Record{}
	if err := schema.Decode(b, r); err != nil {
		return nil, err
	}
	if r.Schema != RecordSchema {
		return nil, fmt.Errorf("schema %d, this program reads %d", r.Schema, RecordSchema)
	}
	if r.Registration != nil {
		if err := r.Registration.check(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Registration) check() error {
	if r == nil {
		return errors.New("there is no registration")
	}
	return errors.Join(schema.CheckHostName(r.Host), schema.CheckServerURL(r.Server))
}

// Write replaces RecordFile, so that after a crash it is the old one or the new one.
func (f Files) Write(r *Record) error {
	if err := f.writeIdentity(r); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(f.Stored(RecordFile), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// writeIdentity keeps IdentityFile as r has it; it is written only when that changes, before RecordFile is.
func (f Files) writeIdentity(r *Record) error {
	name := f.Stored(IdentityFile)
	had, err := ReadFile(name, maxRecord)
	if err != nil {
		return err
	}
	if r.Registration == nil {
		if had == nil {
			return nil
		}
		return durable.Remove(name)
	}
	b, err := json.MarshalIndent(identity{RecordSchema, r.Registration, r.Bootstrap}, "", "  ")
	if err != nil {
		return err
	}
	if b = append(b, '\n'); bytes.Equal(b, had) {
		return nil
	}
	return durable.WriteFile(name, b, 0o600)
}

// Standing is what schema.Policy.Decide needs to know.
func (r *Record) Standing() schema.Standing {
	var st schema.Standing
	for _, f := range r.Failed {
		st.Failed = append(st.Failed, f.Release)
	}
	if r.Installed != nil {
		st.Installed, st.Release = r.Installed.Package, r.Installed.Release
	}
	return st
}

// MarkFailed remembers a release that must not be installed again, and why.
func (r *Record) MarkFailed(release int64, why string) {
	r.Forgive(release)
	r.Failed = append(r.Failed, Failure{release, why})
	// Newest releases matter: older ones are no candidates any more.
	r.Failed = r.Failed[max(0, len(r.Failed)-maxFailed):]
}

// Forgive forgets that a release failed here.
func (r *Record) Forgive(release int64) {
	r.Failed = slices.DeleteFunc(r.Failed, func(f Failure) bool { return f.Release == release })
}

// WhyFailed is why a release failed here; empty if it did not.
func (r *Record) WhyFailed(release int64) string {
	for _, f := range r.Failed {
		if f.Release == release {
			return f.Why
		}
	}
	return ""
}
