package main

import (
	"fmt"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

func pauseCommand(g *global) *cobra.Command {
	var until, reason string
	c := &cobra.Command{
		Use:   "pause",
		Short: "Install and repair nothing on this host for a while",
		Long: `Install and repair nothing on this host for a while.

The host goes on checking and reporting; the pause and its reason are in its status and its reports. It ends at the time
given, or with bakehouse-agent resume. An installation that a crash cut short is rolled back all the same.`,
		Args: cobra.NoArgs,
	}
	c.Flags().StringVar(&until, "until", "", "end at `TIME`: a duration such as 2h or 3d, a time such as "+
		"\"2026-03-01 18:00\" (of this host's zone), or RFC 3339")
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever reads the status (`TEXT`)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		end, err := parseUntil(until, time.Now())
		if err != nil {
			return err
		}
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		p, err := a.Pause(end, reason)
		return g.printPause(c, p, *asJSON, "%s\n", err)
	}
	return c
}

func resumeCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "resume",
		Short: "End the pause of this host",
		Long: `End the pause of this host. The service goes on with its next check; for one at once, run bakehouse-agent
update.`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		p, err := a.Resume()
		return g.printPause(c, p, *asJSON, "resumed; it was %s\n", err)
	}
	return c
}

func (g *global) printPause(c *cobra.Command, p *schema.Pause, asJSON bool, format string, err error) error {
	switch {
	case err != nil:
	case asJSON:
		err = writeJSON(c.OutOrStdout(), p)
	case !g.quiet:
		_, err = fmt.Fprintf(c.OutOrStdout(), format, p)
	}
	return err
}

// parseUntil reads a duration from now, or a time; empty is none.
func parseUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := schema.ParseDuration(s); err == nil {
		return now.Add(time.Duration(d)), nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.Hint(fmt.Errorf("%.40q is neither a time nor a duration", s),
		`set --until to a duration such as 2h or 3d, or to a time such as "2026-03-01 18:00"`)
}
