// Command bakehouse-agent is the program on a monitored host: it registers the host, asks the server at intervals, and
// verifies a package before it installs it. The work is in package agent; this is its command line.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"bakehouse/agent"
	"bakehouse/agent/detached"
	"bakehouse/schema"
	"bakehouse/schema/cli"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"

	"github.com/spf13/cobra"
)

func main() {
	umask(0o022) // what is private is made so: an administrator's umask is not for what a package brings
	// Never stopped: an interrupt that comes when all is done does not make a failure of it.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	os.Exit(start(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := command()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var judged severityError
	if errors.As(err, &judged) {
		if judged.err != nil {
			cli.Report(cmd, args, judged.err)
		}
		return int(judged.severity)
	}
	if err != nil {
		cli.Report(cmd, args, err)
	}
	return fault.ExitCode(err)
}

func command() *cobra.Command {
	var g global
	stderr := &graded{to: errorOutput(), journal: isJournal(os.Stderr)}
	c := &cobra.Command{
		Use:   "bakehouse-agent",
		Short: "Keep this host's monitoring agent as its fleet's repository says",
		Long: `Keep this host's monitoring agent as its fleet's repository says.

Register the host once. From then on the service ("bakehouse-agent run"), or "bakehouse-agent update", asks the server
for the host's package, verifies it against signed metadata and the accepted signature keys, and installs it.

Exit codes: 0 done or nothing to do, 1 error, or the release failed here, 3 something could not be verified and was
refused.`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRun: func(c *cobra.Command, args []string) {
			if isLogged(c) {
				stderr.log = toSystemLog()
			}
			endWithTerminal(c, args)
		},
	}
	f := c.PersistentFlags()
	f.StringVar(&g.root, "root", "", "use `DIR` as / (a sandbox)")
	f.StringVar(&g.logFile, "logfile", "", "write the log to `FILE` instead of "+schema.StateDir(runtime.GOOS)+
		"/agent.log")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "print each step on stderr")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "print only errors, warnings and what was asked for")
	addService(c)
	c.Flags().Bool("version", false, "print the version") // which cobra would else word itself
	c.AddCommand(registerCommand(&g), unregisterCommand(&g), updateCommand(&g), runCommand(&g), statusCommand(&g),
		showConfigCommand(&g), pauseCommand(&g), resumeCommand(&g), retryCommand(&g),
		rollbackCommand(&g), adoptCommand(&g), diagnoseCommand(&g), versionCommand())
	cli.ExplainMistakes(c)
	c.SetOut(plain.NewWriter(os.Stdout))
	c.SetErr(plain.NewWriter(stderr))
	return c
}

// endWithTerminal has a command end like at Ctrl-C when its terminal goes away: before an installation, or after it.
// nohup keeps it going. In run, the signal is for something else.
func endWithTerminal(c *cobra.Command, _ []string) {
	if c.Name() == "run" || signal.Ignored(syscall.SIGHUP) {
		return
	}
	ctx, _ := signal.NotifyContext(c.Context(), syscall.SIGHUP)
	c.SetContext(ctx)
}

func updateCommand(g *global) *cobra.Command {
	var o agent.UpdateOptions
	c := &cobra.Command{
		Use:   "update",
		Short: "Ask the server now and install what is due",
		Long: `Ask the server now and install what is due.

The installed package is looked at first. Where it is not as it was installed, since somebody put on another version, or
changed or removed a file, it is installed again from what this host keeps; a copy of each changed file is kept in
/var/lib/bakehouse/edited. (With drift: "report" in the updater's rule, that is only said.)

Prints one line with the result; with -v, also each step, on stderr.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&o.Retry, "retry", false, "also try releases that failed on this host")
	c.Flags().BoolVar(&o.Verify, "verify", false, "digest each installed file, not only compare size, mode and time")
	c.Flags().BoolVar(&o.Force, "force", false, "install the package again even if nothing is wrong with it")
	c.Flags().BoolVar(&o.Insecure, "insecure", false,
		"do not verify the server's certificate in this call: whoever answers gets this host's secret")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		r, err := a.Update(c.Context(), o)
		return g.finish(c.OutOrStdout(), r, *asJSON, err)
	}
	return c
}

func retryCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "retry",
		Short: "Update now, also to releases that failed on this host",
		Long:  "Update now, also to releases that failed on this host or were rolled back. The same as update --retry.",
		Args:  cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		r, err := a.Update(c.Context(), agent.UpdateOptions{Retry: true})
		return g.finish(c.OutOrStdout(), r, *asJSON, err)
	}
	return c
}

func adoptCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "adopt FILE",
		Short: "Keep a package that was installed manually for the next update",
		Long: `Keep the file of this host's package that was installed manually, as with dpkg, for the next update. It
takes from the file what it would otherwise fetch, and so does each update after it.

Nothing in the file is trusted but what signed metadata vouch for. A file of another package does no harm and is of no
use.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			d, err := a.Adopt(args[0])
			if err == nil && !g.quiet {
				_, err = fmt.Fprintf(c.OutOrStdout(), "kept for the next update: package %s\n", d.Short())
			}
			return err
		},
	}
}

func rollbackCommand(g *global) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Install the previous package again",
		Long: `Install the previous package again, from the verified copy on this host; with --to, one from before it.

That must have been installed on this host, and its bytes must still be here: those of the previous package are, and
those of earlier ones as long as they differ from it in small files only. They are digested again. A package that is
revoked is refused.

The release that it replaces, and each later one that was installed here, counts as failed here: the next update does
not install it again, but waits for a newer one (or for retry).`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&to, "to", "", "go back to `RELEASE`: its number, or 8 digits or more of the package's digest")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		r, err := a.Rollback(c.Context(), to)
		return g.finish(c.OutOrStdout(), r, *asJSON, err)
	}
	return c
}

func runCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Update at each interval (the service)",
		Long: `Update at each interval until stopped. This is what the service runs. SIGHUP means: check now.

Under systemd, each update runs in its own unit, so that installing a new version of this program does not stop it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			program, err := detached.Program()
			if err != nil {
				return err
			}
			args := []string{"update"}
			if g.logFile != "" {
				args = append(args, "--logfile", g.logFile)
			}
			note := func(s string) { fmt.Fprintln(c.ErrOrStderr(), strings.TrimSpace(s)) }
			check := make(chan os.Signal, 1)
			if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
				signal.Notify(check, syscall.SIGHUP)
			}
			o := agent.RunOptions{Check: check, Note: note,
				Detach:   detached.Update(g.root, a.LogFile(), program, args...),
				Replaced: detached.Replaced(program)}
			if !g.quiet {
				o.Ended = func(r agent.Result) { note(r.String()) }
			}
			err = a.Run(c.Context(), o)
			if err != agent.ErrReplaced {
				return err
			}
			if os.Getenv("INVOCATION_ID") != "" && os.Getppid() == 1 {
				// systemd starts the new program (Restart=always). A stop may be on its way from the package's own script
				// just now, and one that arrives while this process becomes the new one can be lost with it.
				return nil
			}
			// From here on a signal ends this process at once, rather than being lost with it.
			signal.Reset()
			if c.Context().Err() != nil {
				return nil
			}
			return detached.Restart(program)
		},
	}
}

func showConfigCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "show-config",
		Short: "Show each setting, its value and where it comes from",
		Long: `Show each setting, its value and where it comes from: the installed package (config), the registration (state),
both, or the default.

Secrets are not printed. Fails if the package's settings cannot be used.`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		s, err := a.ShowConfig()
		if err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(c.OutOrStdout(), s)
		} else {
			err = s.Print(c.OutOrStdout())
		}
		return cmp.Or(err, s.Err())
	}
	return c
}

func versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *asJSON {
			return writeJSON(c.OutOrStdout(), struct {
				Version  string          `json:"version"`
				Platform schema.Platform `json:"platform"`
			}{version, schema.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}})
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), version)
		return err
	}
	return c
}
