// Package keys has the private halves of a fleet's keys: what signs roots, metadata and packages.
//
// Which keys there are, and what each may sign, is reviewed in the repo; a private half never is in it.
//
//	keys/NAME.cue    in the repo: public half, uses, expiry               command.go, import.go
//	KEYDIR/NAME.key  private half, encrypted with a passphrase            keyring.go, passphrase.go
//	NAME://…         instead: a private half that never leaves a service  remote.go, cloud.go
//
// A Keyring is one run's access to them. It decrypts a key, or asks its service, when that first signs, and refuses a
// key that is retired, out of its time, readable by others, or not the one of keys/. It knows roles by name only:
// what the chain of roots makes of them is package roots.
package keys
