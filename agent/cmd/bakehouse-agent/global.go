package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"bakehouse/agent"
	"bakehouse/schema"
	"bakehouse/schema/cli"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// version is set by -ldflags "-X main.version=…" when a host program is built for a fleet.
var version = "dev"

// global are the flags of every command.
type global struct {
	root, logFile  string
	verbose, quiet bool
}

// agent makes the updater that a command drives.
func (g *global) agent(c *cobra.Command) (*agent.Agent, error) {
	if err := cli.AtMostOne(c, "verbose", "quiet"); err != nil {
		return nil, err
	}
	o := agent.Options{Root: g.root, LogFile: g.logFile, Version: version, Warn: func(text string) {
		fmt.Fprintf(c.ErrOrStderr(), "%s: warning: %s\n", c.Root().Name(), text)
	}}
	if g.verbose {
		o.Narrate = c.ErrOrStderr()
	}
	return agent.New(o)
}

// jsonFlag makes the flag by which a command prints its result as JSON.
func jsonFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("json", false, "print the result as JSON")
}

// finish prints the result, also of what failed.
func (g *global) finish(w io.Writer, r agent.Result, asJSON bool, err error) error {
	var werr error
	switch {
	case asJSON:
		werr = writeJSON(w, r)
	case !g.quiet:
		_, werr = fmt.Fprintln(w, r)
	}
	if err != nil {
		return err
	}
	if r.State == schema.StateFailed { // an earlier run found out, and nothing has changed since
		return fault.Hint(errors.New("this host is not on the release that it should have: "+r.Error),
			"mend what is wrong, then: bakehouse-agent update --retry")
	}
	return werr
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
