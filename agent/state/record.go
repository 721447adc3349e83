package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/owned"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Files in StateDir.
const (
	RecordFile   = "state.json"
	IdentityFile = "registration.json" // who the host is, once more: what no update writes, and none can learn anew
	LogFile      = "agent.log"         // the updater's
	ReportedFile = "reported.json"     // Reported; if it is lost, the host reports once more
)

// RecordSchema is the version of RecordFile's form.
const RecordSchema = 1

const (
	maxRecord   = 8 << 20
	maxIdentity = maxRecord / 2 // it is in the record too
	maxStopped  = 256
	maxReported = 64 << 10
)

// Record is RecordFile.
type Record struct {
	Schema       int           `json:"schema"`
	Registration *Registration `json:"registration,omitempty"`
	Bootstrap    *Bootstrap    `json:"bootstrap,omitempty"`
	cycle.State
	Stopped   []string      `json:"stopped,omitempty"` // units that an administrator stopped, at the last installation
	Hold      string        `json:"hold,omitempty"`    // why the server holds this host back, as it last said
	HoldCode  string        `json:"holdCode,omitempty"`
	Asked     int64         `json:"asked,omitempty"` // seconds after which the server wants the next check; 0: none
	Root      int64         `json:"root,omitempty"`  // verified versions, for status
	Timestamp int64         `json:"timestamp,omitempty"`
	Snapshot  schema.Digest `json:"snapshot,omitzero"` // of the verified metadata files, for reports
	Bin       schema.Digest `json:"bin,omitzero"`
	LastCheck time.Time     `json:"lastCheck,omitzero"`
	Fetched   int64         `json:"fetched,omitempty"` // bytes that the last installation, or attempt at one, fetched
	LogTail   string        `json:"logTail,omitempty"` // of the last failure
	Reported  *Reported     `json:"-"`                 // is in ReportedFile
	Site      *Site         `json:"site,omitempty"`    // the host's, by verified policy
	Gone      time.Time     `json:"gone,omitzero"`     // since when signed metadata have nothing for the host's name
	Worked    *Way          `json:"worked,omitempty"`  // the way that last led to a server
	Joined    *Joined       `json:"joined,omitempty"`  // the fleet that took the host over; nil: none did

	Ignored []schema.IgnoredSignature `json:"ignored,omitempty"` // on the package that was last looked at

	Healed error `json:"-"` // why RecordFile could not be read, and only IdentityFile was; nil: it could
}

// identity is IdentityFile.
type identity struct {
	Schema       int           `json:"schema"`
	Registration *Registration `json:"registration"`
	Bootstrap    *Bootstrap    `json:"bootstrap,omitempty"`
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
	Machine      string    `json:"machine,omitempty"`      // that it was made on; empty: nobody knows
	At           time.Time `json:"at"`
}

// Joined is the fleet that took this host over. Until a package of that fleet is installed, what is baked is that of
// the fleet before.
type Joined struct {
	Fleet string        `json:"fleet"`
	Root  schema.Digest `json:"root"` // as the handover has it
	At    time.Time     `json:"at"`
}

// Bootstrap is what a host without a package verifies its first one with.
type Bootstrap struct {
	Anchor   []byte               `json:"anchor"` // root metadata
	Keys     []schema.AcceptedKey `json:"keys"`
	Unsigned bool                 `json:"unsigned,omitempty"` // no key was known: signed metadata alone are asked for
}

// Installed is b once a package is installed whose settings are c: the keys that it brought count from then on, also
// if it is removed.
func (b *Bootstrap) Installed(c *schema.AgentConfig) {
	if b != nil && b.Unsigned && c != nil && len(c.Keys) > 0 {
		b.Keys, b.Unsigned = c.Keys, false
	}
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

func (f Files) reported() *Reported {
	b, err := ReadFile(f.Stored(ReportedFile), maxReported)
	r := &Reported{}
	if err != nil || b == nil || schema.Decode(b, r) != nil {
		return nil
	}
	return r
}

// writeReported keeps ReportedFile as r has it.
func (f Files) writeReported(r *Record) error {
	name := f.Stored(ReportedFile)
	if r.Reported == nil {
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.Marshal(r.Reported)
	if err != nil {
		return err
	}
	if had, err := ReadFile(name, maxReported); err == nil && bytes.Equal(had, b) {
		return nil
	}
	return durable.WriteLoose(name, b, 0o600)
}

// damagedError says that RecordFile is there and cannot be understood.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

func (f Files) record() (*Record, error) {
	if err := NeedRoot(owned.Check(f.Stored())); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &Record{Schema: RecordSchema}, nil
		}
		return nil, err
	}
	name := f.Stored(RecordFile)
	b, err := ReadFile(name, maxRecord)
	if b == nil && err == nil {
		return &Record{Schema: RecordSchema}, nil
	}
	if err != nil && !errors.Is(err, errTooLong) {
		return nil, err
	}
	var r *Record
	if err == nil {
		r, err = decodeRecord(b)
	}
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

// Write replaces RecordFile, so that after a crash it is the old one or the new one. What it writes can be read back:
// texts are cut, and what the next update learns anew is left out if there is too much of it.
func (f Files) Write(r *Record) error {
	if err := f.writeIdentity(r); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	kept := r.bounded()
	b, err := json.MarshalIndent(kept, "", "  ")
	if err == nil && len(b) >= maxRecord {
		kept.Worked, kept.Site = nil, nil
		b, err = json.MarshalIndent(kept, "", "  ")
	}
	if err == nil && len(b) >= maxRecord {
		err = fmt.Errorf("%d bytes are more than can be read back", len(b))
	}
	if err == nil {
		err = durable.WriteFile(f.Stored(RecordFile), append(b, '\n'), 0o600)
	}
	if err == nil {
		err = f.writeReported(r)
	}
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// bounded is a copy of r whose texts are cut and cleaned. Those of its identity were checked when they came, and are
// kept as they are.
func (r *Record) bounded() *Record {
	c := *r
	c.State = r.State.Bounded()
	c.HoldCode = plain.Name(r.HoldCode)
	c.Hold, c.LogTail = plain.Name(r.Hold), plain.Tail(r.LogTail, schema.MaxLogTail)
	c.Stopped = slices.Clone(r.Stopped[:min(len(r.Stopped), maxStopped)])
	for i, s := range c.Stopped {
		c.Stopped[i] = plain.Name(s)
	}
	if r.Joined != nil {
		j := *r.Joined
		j.Fleet, c.Joined = plain.Name(j.Fleet), &j
	}
	c.Ignored = slices.Clone(r.Ignored[:min(len(r.Ignored), schema.MaxIgnored)])
	for i, s := range c.Ignored {
		c.Ignored[i] = schema.IgnoredSignature{Key: plain.Name(s.Key), Reason: plain.Name(s.Reason)}
	}
	return &c
}

// writeIdentity keeps IdentityFile as r has it; it is written only when that changes, before RecordFile is.
func (f Files) writeIdentity(r *Record) error {
	name := f.Stored(IdentityFile)
	had, err := ReadFile(name, maxRecord)
	if err != nil && !errors.Is(err, errTooLong) {
		return err
	}
	if r.Registration == nil {
		if had == nil && err == nil {
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
	if len(b) > maxIdentity {
		return fmt.Errorf("the registration has %d bytes, more than can be read back", len(b))
	}
	return durable.WriteFile(name, b, 0o600)
}
