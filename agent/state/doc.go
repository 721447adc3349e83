// Package state is what a host knows before it asks anybody: the files that its package brought, what registration
// agreed, and what earlier updates left behind. Files.Load reads all of it into a Host; Host.Save writes the part that
// changes.
//
//	schema.ConfigFile, schema.AnchorFile   from the package ("baked"): read only
//	StateDir/state.json                    Record: registration, packages, last outcome (0600; holds the host secret)
//	StateDir/lock                          held while an update, rollback or registration is under way
//
// Settings have one table of precedence (settings.go), which show-config prints. What the package brought beats what
// registration agreed; that is the fallback of a host without a package. Two settings count from both: certificates,
// and servers, where the registered one is asked first unless the package fixes its own.
//
// A damaged state.json is an error with a way out: Files.Fresh is what register --force starts from, and the next
// update installs the host's package again. The directory itself must belong to root or to the user that runs the
// updater.
package state
