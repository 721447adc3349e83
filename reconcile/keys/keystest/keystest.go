// Package keystest makes keys cheap in tests: the derivation of a key from a passphrase is slow on purpose, and a
// test that is not about that should not wait for it. No program links this package.
package keystest

import (
	"testing"

	"bakehouse/reconcile/keys/internal/box"
)

// cost is scrypt's N: next to nothing.
const cost = 1 << 4

// Cheap makes private keys quick to encrypt and to decrypt in this process, which must be that of a test. TestMain
// calls it first, or a program that a test binary stands for; what other processes made at full cost is still read.
func Cheap() {
	if !testing.Testing() {
		panic("keystest: not in a test")
	}
	box.SetCost(cost)
}
