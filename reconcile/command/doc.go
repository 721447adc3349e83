// Package command has the verbs of `bakehouse` that an operator's machine runs, one file each: flags, help, and what is
// printed. The work is done by the packages below, whose functions return values.
package command

import "github.com/spf13/cobra"

// All are the verbs, in the order of the help. version is this program's.
func All(version string) []*cobra.Command {
	return []*cobra.Command{
		initCommand(), hostCommand(), checkCommand(), explainCommand(), planCommand(version), reconcileCommand(version),
		monitorCommand(version), packageCommand(version), reproduceCommand(), pluginCommand(), upgradeCommand(version),
		keyCommand(), rootCommand(), storeCommand(),
	}
}
