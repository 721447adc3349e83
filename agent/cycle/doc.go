// Package cycle says what an update of a host does next, and what it leaves in the host's state. It is pure: Step takes
// what has just happened and returns the next action, which package agent performs; no file, clock or network is in
// here, so that tables and random runs can try every order of events, with a crash after any of them.
//
//	Observe  what is installed, and are its files as they came?     -> Observed
//	Ask      poll a server, verify what it says, decide             -> Decided, Stopped
//	Prepare  fetch, verify and put together the package             -> Prepared, Stopped
//	Survey   what does its monitoring print, and what is ill?       -> Surveyed
//	Install  let the package manager have it                        -> Installed
//	Judge    is the host well with it?                              -> Judged
//	Accept   remove what nobody can want back                       -> Accepted
//	Revert   take the installation back by its own way              -> Restored
//	Return   install once more what was accepted before             -> Restored
//	End      conclude, and report
//
// The State is written down before an action is performed, so a crash is an end of the run before the next event, and
// the next run begins with what was written. These rules hold however a run ends:
//
//   - what was accepted is Installed; only to that does a host go back, whatever an attempt that was cut short left;
//   - Pending is cleared by an accepted installation or a completed way back, and by nothing else;
//   - a release is given up here only for ill health, for a failure of its own script, or when installing it has been
//     begun MaxAttempts times without an end; all else is a condition of the host, and is tried again by itself;
//   - while an administrator has the host paused, nothing is installed or repaired; what was begun before is taken
//     back, since nothing may stay half done, and a pause with an end ends by itself;
//   - what the monitoring of the accepted package prints is known before the next one is taken up, and an attempt that
//     was cut short changes nothing of that;
//   - each outcome has a class (schema/outcome), and what keeps a host from a release counts as withheld unless it is
//     signed or the host's own: a code that the table lacks does.
package cycle
