package cycle

import (
	"maps"
	"slices"

	"bakehouse/schema"
)

// Codes of outcomes, beside those of schema.Policy.Decide.
const (
	CodeInstalled   = "installed"
	CodeRolledBack  = "rolled-back"
	CodeUnreachable = "unreachable"
	CodeRejected    = "rejected" // the server does not accept this host's request
	CodeExpired     = "expired"
	CodeNoTarget    = "no-target"
	CodeServerHold  = "server-hold"
	CodeSiteBehind  = "site-behind"
	CodeUnverified  = "unverified"
	CodeInstall     = "install-failed"
	CodeHost        = "host-condition" // of the host's own, which stopped an installation; it is tried again by itself
	CodeUnhealthy   = "unhealthy"
	CodeDrift       = "drift"  // the installed package is not as it came, and a rule says to leave that alone
	CodePaused      = "paused" // an administrator of the host wants nothing installed for a while
	CodeBroken      = "error"
)

// Class says who is behind an outcome.
type Class string

// Classes of outcomes.
const (
	Done   Class = "done"   // the host runs what it should
	Signed Class = "signed" // the operator decided it, and signed that
	Local  Class = "local"  // the host's own: of its disk, its package manager, its health, its administrator
	Server Class = "server" // all else: somebody, or something, keeps the host from its releases without a signature
)

var classes = map[string]Class{
	schema.CodeCurrent: Done,
	CodeInstalled:      Done,

	schema.CodeDisabled:    Signed,
	schema.CodeNotSelected: Signed,
	schema.CodeNoRing:      Signed,
	schema.CodeWaiting:     Signed,
	schema.CodeRevoked:     Signed,
	CodeNoTarget:           Signed,

	schema.CodeFailed: Local,
	CodeRolledBack:    Local,
	CodeInstall:       Local,
	CodeHost:          Local,
	CodeUnhealthy:     Local,
	CodeDrift:         Local,
	CodePaused:        Local,

	CodeUnreachable: Server,
	CodeRejected:    Server,
	CodeExpired:     Server,
	CodeServerHold:  Server,
	CodeSiteBehind:  Server,
	CodeUnverified:  Server,
	CodeBroken:      Server,
}

// ClassOf is the class of an outcome's code. What is not known is Server, so that a fault that somebody finds a way to
// cause cannot end the alarm about a host that is kept from its releases.
func ClassOf(code string) Class {
	if c, ok := classes[code]; ok {
		return c
	}
	return Server
}

// Codes lists the codes of the table.
func Codes() []string { return slices.Sorted(maps.Keys(classes)) }
