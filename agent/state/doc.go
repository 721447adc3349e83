// Package state is what a host knows before it asks anybody: the files that its package brought, what registration
// agreed, and what earlier updates left behind. Files.Load reads all of it into a Host; Host.Save writes the part that
// changes.
//
//	schema.ConfigFile, schema.AnchorFile   from the package ("baked"): read only
//	StateDir/state.json                    Record: registration, packages, outcome, way (0600; holds the host secret)
//	StateDir/lock                          held while an update, rollback or registration is under way
//
// Settings have one table of precedence (settings.go), which show-config prints:
//
//	signed policy  what it says of the host's site: its URL, and who vouches for it
//	baked          what the package brought
//	registration   what registration agreed: the fallback of a host without a package, or that nothing else answers
//
// Two settings add up, in that order: servers, unless the package fixes its own, and certificates. What registration
// believed of certificates (--ca) is forgotten once signed or baked ones have led to a server.
//
// The ways to a server that follow from them are in reach.go. The last way that worked is tried after those, so that a
// release whose settings reach no server is taken back by the next one. It is forgotten when those of the settings have
// worked.
//
// A damaged state.json is an error with a way out: Files.Fresh is what register --force starts from, and the next
// update installs the host's package again. The directory itself must belong to root or to the user that runs the
// updater.
package state
