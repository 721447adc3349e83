// Package trust verifies a fleet's TUF metadata and package statements.
package trust
