package schema

import "time"

// WireSchema is the version of the requests and answers below. A server answers the version it was asked in.
const WireSchema = 1

// RegisterRequest is sent once per host, with a user's name and password or secret (HTTP Basic).
type RegisterRequest struct {
	Schema   int      `json:"schema"`
	Host     string   `json:"host"`
	Platform Platform `json:"platform"`
	Agent    string   `json:"agent"` // version of the host program
}

// RegisterAnswer carries the host secret, which nobody else ever sees again, and the host's site if it is known.
type RegisterAnswer struct {
	Secret string `json:"secret"`
	Site   string `json:"site,omitempty"`
}

// PollRequest carries the host's report, with the host's name and secret (HTTP Basic).
type PollRequest struct {
	Schema    int    `json:"schema"`
	Timestamp int64  `json:"timestamp"` // the version that the host has verified; 0: none
	Root      int64  `json:"root"`      // likewise
	Held      bool   `json:"held,omitempty"`
	Report    Report `json:"report"`
}

// PollAnswer is the body of a 200; a 204 says that nothing is new for the host. Timestamp is the TUF file as signed.
type PollAnswer struct {
	Schema    int    `json:"schema"`
	Timestamp []byte `json:"timestamp,omitempty"`
	Root      int64  `json:"root"`           // newest version published
	Hold      string `json:"hold,omitempty"` // why this server holds the host back; empty: it does not
	Site      string `json:"site,omitempty"` // the host's site; its URL and certificates stand in signed policy
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
	HeldSince  time.Time `json:"heldSince,omitzero"` // kept from releases by what nobody signed
	Critical   bool      `json:"critical,omitempty"` // for longer than signed policy allows
}

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
