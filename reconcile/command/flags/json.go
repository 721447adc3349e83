package flags

import (
	"github.com/spf13/cobra"

	"bakehouse/reconcile/settings"
)

// AddJSON adds --json to a command that has a result. Its errors are JSON, too, which cli.Report sees to.
func AddJSON(cmd *cobra.Command) *bool {
	asJSON := cmd.Flags().Bool("json", false, "print the result, or the error, as JSON")
	settings.Setting(cmd.Flags(), "json")
	return asJSON
}
