// Package outcome is the table of what an update of a host can end with: each code with its class, which says who is
// behind it, and its group, which says how the host counts among its fleet's. Hosts classify by it what they report,
// and servers what they are told.
package outcome

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
	CodeGate        = "gate"           // a server holds it back: its ring is not open for the release
	CodeHalted      = "halted"         // likewise: the release is
	CodeHeldRollout = "rollout-paused" // likewise: the whole rollout is
	CodeSiteBehind  = "site-behind"
	CodeUnverified  = "unverified"
	CodeInstall     = "install-failed"
	CodeHost        = "host-condition" // of the host's own, which stopped an installation; it is tried again by itself
	CodeUnhealthy   = "unhealthy"
	CodeDrift       = "drift"  // the installed package is not as it came, and a rule says to leave that alone
	CodePaused      = "paused" // an administrator of the host wants nothing installed for a while
	CodeWindow      = "window" // no maintenance window is open now, by the rules of the package that is installed
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

// Group says how a host with an outcome counts among the hosts of its fleet.
type Group string

// Groups of outcomes.
const (
	UpToDate Group = "up-to-date"
	Waiting  Group = "waiting"  // it may not install, by a decision: signed, or of the host's administrator
	Withheld Group = "withheld" // a server, a site or the network keeps it from what it wants; all of class Server
	Blocked  Group = "blocked"  // a condition of the host's own; it is tried again by itself
	Failed   Group = "failed"   // it was installed and is no good; counts against a rollout
	Rejected Group = "rejected" // something did not verify; counts against a rollout
)

type entry struct {
	class Class
	group Group
}

var table = map[string]entry{
	schema.CodeCurrent: {Done, UpToDate},
	CodeInstalled:      {Done, UpToDate},

	schema.CodeDisabled:    {Signed, Waiting},
	schema.CodeNotSelected: {Signed, Waiting},
	schema.CodeNoRing:      {Signed, Waiting},
	schema.CodeWaiting:     {Signed, Waiting},
	schema.CodeRevoked:     {Signed, Waiting},
	CodeNoTarget:           {Signed, Waiting},
	CodeWindow:             {Signed, Waiting},

	schema.CodeFailed: {Local, Failed},
	CodeRolledBack:    {Local, Waiting},
	CodeInstall:       {Local, Failed},
	CodeHost:          {Local, Blocked},
	CodeUnhealthy:     {Local, Failed},
	CodeDrift:         {Local, Waiting},
	CodePaused:        {Local, Waiting},

	CodeUnreachable: {Server, Withheld},
	CodeRejected:    {Server, Withheld},
	CodeExpired:     {Server, Withheld},
	CodeServerHold:  {Server, Withheld},
	CodeGate:        {Server, Withheld},
	CodeHalted:      {Server, Withheld},
	CodeHeldRollout: {Server, Withheld},
	CodeSiteBehind:  {Server, Withheld},
	CodeUnverified:  {Server, Rejected},
	CodeBroken:      {Server, Withheld},
}

func of(code string) entry {
	if e, ok := table[code]; ok {
		return e
	}
	return entry{Server, Withheld}
}

// ClassOf is the class of an outcome's code. What is not known is Server, so that a fault that somebody finds a way to
// cause cannot end the alarm about a host that is kept from its releases.
func ClassOf(code string) Class { return of(code).class }

// GroupOf is the group of an outcome's code. What is not known is Withheld, as its class is Server.
func GroupOf(code string) Group { return of(code).group }

// OfHold is the outcome's code for a hold of that code, which a server chose.
func OfHold(code string) string {
	switch code {
	case CodeGate, CodeHalted, CodeHeldRollout:
		return code
	}
	return CodeServerHold
}

// Codes lists the codes of the table.
func Codes() []string { return slices.Sorted(maps.Keys(table)) }

// NoPackage says that what is published has no package for a host: the fleet does not list it, or no rule gives it the
// updater. Servers and hosts say it in the same words; fleet may be empty.
func NoPackage(fleet, host string) string {
	if fleet != "" {
		fleet = " " + fleet
	}
	return "the fleet" + fleet + " has no package for host " + host
}
