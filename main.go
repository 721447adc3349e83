// Command bakehouse is the operator's side of Bakehouse: it checks a fleet repository, bakes and signs what changed
// into a store, and serves that store to hosts. The packages below offer the commands; this file joins them and has
// their flags filled from the settings.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"bakehouse/examples/demo"
	"bakehouse/reconcile/carry"
	"bakehouse/reconcile/command"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/manual"
	"bakehouse/reconcile/settings"
	"bakehouse/reconcile/source/gitdir"
	"bakehouse/schema/cli"
	"bakehouse/schema/fault"
	"bakehouse/serve"
	"bakehouse/serve/access"
	"bakehouse/serve/ask"
	"bakehouse/serve/inventory/transfer"
	"bakehouse/serve/store/remote"

	"github.com/spf13/cobra"
)

// version is set by -ldflags "-X main.version=…" in releases.
var version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	// Not stopped before the end: an interrupt that comes when all is done does not make a failure of it.
	remote.TakePassword()
	os.Exit(run(keys.TakePassphrases(ctx), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && ctx.Err() != nil && fault.HintOf(err) == "" {
		err = fault.Hint(err, "run it again: nothing was left half done")
	}
	if err != nil && !errors.Is(err, fault.ErrChanges) {
		cli.Report(cmd, args, err)
	}
	return fault.ExitCode(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bakehouse",
		Short: "An open GitOps bakery for monitoring agents",
		Long: `Bakehouse bakes, signs and delivers monitoring agents from a git repository.

A fleet is described in CUE files: hosts, rules, plugins, keys. "reconcile" bakes and signs whatever a commit
changed into a content-addressed store, "serve" hands it out, and bakehouse-agent on each host verifies a package
before it installs it. Try it on this machine: bakehouse demo

Settings: a flag is taken from the command line, the environment (BAKEHOUSE_SERVE_LISTEN of one command,
BAKEHOUSE_STORE of all), a settings file or its default. In the file, a flag of all commands is a key at the top
(store: /srv/bakehouse), and those of one command are listed under "commands" (commands: {serve: {listen: ":8443"}}).

Exit codes: 0 done, 1 error, 2 changes pending (only with --detailed-exitcode), 3 something did not verify,
4 cannot judge (only monitor).`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.String("config", "", "settings `FILE` (default bakehouse.yaml if there is one)")
	f.BoolP("quiet", "q", false, "print no progress and no notes")
	f.BoolP("verbose", "v", false, "print details, such as where settings come from")
	settings.Setting(f, "quiet", "verbose")
	root.AddCommand(command.All(version)...)
	root.AddCommand(serve.Command(), access.Command(), ask.Token(), ask.Audit(), ask.Doctor(), ask.Release(),
		ask.Rollout(), ask.Site(), transfer.Command(), demo.Command(), manual.Command(), manual.Version(version))
	for _, c := range root.Commands() {
		switch c.Name() {
		case "host": // in the repository, and at a server
			c.AddCommand(ask.HostVerbs()...)
		case "store":
			c.AddCommand(carry.Verbs()...)
		}
	}
	cli.ExplainMistakes(root)
	root.PersistentPreRunE = prepare
	command.Complete(root, func(cmd *cobra.Command) ([]string, error) { return fill(cmd, nil) })
	return root
}

func fill(cmd *cobra.Command, unread func([]string)) (taken []string, err error) {
	return settings.Sources{Environ: os.Environ(), Outside: gitdir.Outside, Unread: unread}.Fill(cmd)
}

// prepare fills the flags of cmd from the settings, before it runs.
func prepare(cmd *cobra.Command, _ []string) error {
	taken, err := fill(cmd, func(variables []string) {
		console.Warn(cmd.Root().ErrOrStderr(), "nothing reads the environment's %s", strings.Join(variables, ", "))
	})
	if err == nil {
		err = cli.AtMostOne(cmd, "quiet", "verbose")
	}
	if err != nil {
		return err
	}
	level := console.Normal
	if quiet, _ := cmd.Flags().GetBool("quiet"); quiet {
		level = console.Quiet
	} else if verbose, _ := cmd.Flags().GetBool("verbose"); verbose {
		level = console.Verbose
	}
	log := &console.Log{Writer: cmd.Root().ErrOrStderr(), Level: level}
	for _, t := range taken {
		console.Detail(log, "setting %s", t)
	}
	cmd.Root().SetErr(log)
	return nil
}
