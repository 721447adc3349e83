// Command bakehouse-agent is the program on a monitored host: it registers the host, asks the server at intervals, and
// verifies a package before it installs it. The work is in package agent; this is its command line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"bakehouse/agent"
	"bakehouse/schema"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// version is set by -ldflags "-X main.version=…" when a host program is built for a fleet.
var version = "dev"

func main() {
	// A terminal that goes away ends an update like Ctrl-C does: before the installation, or after it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	c := command()
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	if err != nil {
		w := c.ErrOrStderr()
		fmt.Fprintf(w, "bakehouse-agent: error: %v\n", err)
		if hint := fault.HintOf(err); hint != "" {
			fmt.Fprintf(w, "bakehouse-agent: hint: %s\n", hint)
		}
	}
	return fault.ExitCode(err)
}

// global are the flags of every verb.
type global struct {
	root, logFile string
	verbose       bool
}

func command() *cobra.Command {
	var g global
	c := &cobra.Command{
		Use:   "bakehouse-agent",
		Short: "Keep this host's monitoring agent at what its fleet's repo says",
		Long: `Keep this host's monitoring agent at what its fleet's repo says.

Register the host once; then the service "bakehouse-agent run", or "bakehouse-agent update" by hand, asks the server,
verifies the host's package against signed metadata and accepted signature keys, and installs it.

Exit codes: 0 done or nothing to do, 1 something went wrong, 3 something did not verify and was refused.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	f := c.PersistentFlags()
	f.StringVar(&g.root, "root", "", "directory that stands for / (a sandbox)")
	f.StringVar(&g.logFile, "logfile", "", "write the log there instead of "+schema.StateDir+"/agent.log")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "say each step on stderr")
	c.AddCommand(registerCommand(&g), updateCommand(&g), runCommand(&g), statusCommand(&g), showConfigCommand(&g),
		rollbackCommand(&g), versionCommand(), tufCommand())
	return c
}

// agent makes the updater that a verb drives.
func (g *global) agent(c *cobra.Command) (*agent.Agent, error) {
	o := agent.Options{Root: g.root, LogFile: g.logFile, Version: version}
	if g.verbose {
		o.Narrate = c.ErrOrStderr()
	}
	return agent.New(o)
}

func updateCommand(g *global) *cobra.Command {
	var o agent.UpdateOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "update",
		Short: "Ask the server now, and install what is due",
		Long: `Ask the server now, and install what is due.

Prints one line that says how it ended. With -v, each step is said on stderr.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			r, err := a.Update(c.Context(), o)
			return finish(c.OutOrStdout(), r, asJSON, err)
		},
	}
	c.Flags().BoolVar(&o.Retry, "retry", false, "try releases again that failed on this host")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func rollbackCommand(g *global) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Install the previous package again",
		Long: `Install the previous verified package again, from what is kept on this host.

The release that is left counts as failed here: the next update does not install it again, but waits for a newer one
(or for update --retry).`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			r, err := a.Rollback(c.Context())
			return finish(c.OutOrStdout(), r, asJSON, err)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

// finish prints the result also of what failed.
func finish(w io.Writer, r agent.Result, asJSON bool, err error) error {
	var werr error
	if asJSON {
		werr = writeJSON(w, r)
	} else {
		_, werr = fmt.Fprintln(w, r)
	}
	if err != nil {
		return err
	}
	return werr
}

func runCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Update at each interval: the service",
		Long: `Update at each interval, until stopped: the service.

Under systemd each update runs as a unit of its own, so that installing a new version of this program does not end it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			program, err := agent.Program()
			if err != nil {
				return err
			}
			args := []string{"update"}
			if g.logFile != "" {
				args = append(args, "--logfile", g.logFile)
			}
			err = a.Run(c.Context(), agent.RunOptions{
				Update:   a.Detached(program, args...),
				Note:     func(s string) { fmt.Fprintln(c.ErrOrStderr(), strings.TrimSpace(s)) },
				Replaced: agent.ReplacedProgram(program),
			})
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
			return syscall.Exec(program, os.Args, os.Environ())
		},
	}
}

func statusCommand(g *global) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Say what is installed, and how the last update ended",
		Long: `Say what is installed, and how the last update ended.

Exits with 1 if the host is critical: something that nobody signed, such as its server, has kept it from releases for
longer than the fleet allows (rollout.maxHold).`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			s, err := a.Status()
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(c.OutOrStdout(), s)
			} else {
				err = s.Print(c.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return s.Err()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func showConfigCommand(g *global) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show-config",
		Short: "Print the settings of the baked file and of the state file, and which count",
		Long: `Print the settings of the baked file and of the state file, and which count.

Secrets are not printed. Fails if the baked files cannot be used.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			s, err := a.ShowConfig()
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(c.OutOrStdout(), s)
			} else {
				err = s.Print(c.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return s.Err()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version)
			return err
		},
	}
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
