//go:build !windows

package state

// asRoot is how somebody gets the rights that the updater needs.
const asRoot = "run it as root"
