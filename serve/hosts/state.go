package hosts

import "slices"

// State is what a host is in: one of States. It is written so in JSON, in ?state= and on the command line.
type State string

// The states of a host. A host of the fleet is in exactly one of them but NotInGit, which is for those that are
// registered while the fleet has no such host.
const (
	Unregistered State = "unregistered" // in signed targets, without a registration
	Rejected     State = "rejected"     // something did not verify
	Failed       State = "failed"       // it was installed and found to be no good
	Withheld     State = "withheld"     // a server, a site or the network keeps it from what it may install
	Blocked      State = "blocked"      // by its own condition; it tries again by itself
	Overdue      State = "overdue"      // silent, or due to install and did not
	NotKnown     State = "not-known"    // its site is silent
	Waiting      State = "waiting"      // it may not install yet, by decision
	Updating     State = "updating"     // it may, and there is time left
	UpToDate     State = "up-to-date"
	NotInGit     State = "not-in-git"
)

// States lists all of them in the order in which a share bar has them: first what is well, last what is worst.
func States() []State { return slices.Clone(states) }

var states = []State{UpToDate, Updating, Waiting, NotKnown, Withheld, Blocked, Overdue, Failed, Rejected, Unregistered,
	NotInGit}

var words = map[State]string{UpToDate: "Up to date", Updating: "Updating", Waiting: "Waiting", NotKnown: "Not known",
	Withheld: "Withheld", Blocked: "Blocked", Overdue: "Overdue", Failed: "Failed", Rejected: "Rejected",
	Unregistered: "Unregistered", NotInGit: "Not in git"}

// Word is s for people: "Up to date".
func (s State) Word() string { return words[s] }

// Valid reports whether s is one of States.
func (s State) Valid() bool { return slices.Contains(states, s) }

// AgainstGate reports whether a host in this state counts against opening the next ring.
func (s State) AgainstGate() bool { return s == Failed || s == Rejected }

// Mark is something about a host beside its state.
type Mark string

// Marks.
const (
	Drift      Mark = "drift"       // its files are not as they were installed
	Paused     Mark = "paused"      // its administrator wants nothing installed for a while
	Cloned     Mark = "cloned"      // two machines use its registration
	RolledBack Mark = "rolled-back" // by hand, or by itself because a release was no good
)
