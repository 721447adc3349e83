//go:build !unix

package evaluate

// private relies on the access lists that a user's own folders have.
func private(string) error { return nil }
