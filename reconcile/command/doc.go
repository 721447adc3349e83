// Package command has the verbs of `bakehouse` that an operator's machine runs, one file each: flags, help, and what is
// printed. Families of verbs have rooms of their own. The work is done by the packages below, whose functions return
// values.
package command

import (
	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/key"
	"bakehouse/reconcile/command/packages"
	"bakehouse/reconcile/command/root"
	"bakehouse/reconcile/command/storage"
)

// All are the verbs, in the order of the help. version is this program's.
func All(version string) []*cobra.Command {
	return []*cobra.Command{
		initCommand(), hostCommand(), checkCommand(), explainCommand(), planCommand(version), reconcileCommand(version),
		monitorCommand(version), packages.Command(version), packages.Reproduce(), pluginCommand(), upgradeCommand(version),
		key.Command(), root.Command(), storage.Command(),
	}
}
