package settings

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var plain = []string{"json", "jobs", "format", "key-notice", "key-warning"}

var trusting = []string{
	"repo", "store", "against", "key-dir", "kms-plugin", "cache-dir", "programs", "source", "allowed-signers",
	"keyring",
	"verify-commits", "root", "passphrase-file", "openpgp-key", "grace",
}

// Declare says which flags are settings.
func Declare(root *cobra.Command) {
	Walk(root, func(c *cobra.Command, _ []*pflag.Flag) {
		if c.CommandPath() == "bakehouse host add" ||
			slices.Contains([]string{"init", "demo", "version", "man"}, c.Name()) {
			return
		}
		for _, name := range plain {
			if name == "format" && (c.Name() == "init" || c.Name() == "add") {
				continue // of packages, and not of what is printed
			}
			if c.LocalFlags().Lookup(name) != nil {
				Setting(c.LocalFlags(), name)
			}
		}
		for _, name := range trusting {
			if c.LocalFlags().Lookup(name) != nil {
				Trust(c.LocalFlags(), name)
			}
		}
		if c.CommandPath() == "bakehouse store gc" {
			Setting(c.LocalFlags(), "keep")
		}
	})
}
