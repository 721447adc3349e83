package main

import (
	"fmt"

	"bakehouse/agent/report"
	"bakehouse/schema/cli"

	"github.com/spf13/cobra"
)

// severityError ends the program with the exit code of a severity. Err is why the status is unknown.
type severityError struct {
	severity report.Severity
	err      error
}

func (e severityError) Error() string { return fmt.Sprintf("the status is %s", e.severity) }
func (e severityError) Unwrap() error { return e.err }

func statusCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is installed and how the last update ended",
		Long: `Show what is installed and how the last update ended.

Root reads the state itself; others read a summary without secrets, /run/bakehouse/status.json, which the service writes
when it starts and after each update. It is gone after a boot until then.

Exits with 1 if the host is critical: something that is not signed, such as its server, has kept it from releases for
longer than the fleet allows (rollout.maxHold).

With --check, exits by severity instead, as monitoring has it:
  0  ok
  1  warning: the last update failed on this host, a changed package is left as it is by rule, the server rejects this
     host, no update was tried for three intervals (15 minutes at least), this host is not registered, or is another
     machine than was registered. Also what is not this host's own, such as a server that cannot be reached, but only
     after three days: until then it is the server's alarm, not one of each host.
  2  critical: something could not be verified and was refused, no update can work with this host's settings, or the
     host is critical as above
  3  unknown: the status could not be read

For monitoring, there are other forms than the screen and --json:
  --section          Checkmk's agent section: print it from an agent plug-in
  --nagios           one line with performance data, and the exit codes of --check: a Nagios plug-in
  --prometheus FILE  metrics for node_exporter's textfile collector; FILE, which has to end in .prom, is replaced as a
                     whole`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	section := c.Flags().Bool("section", false, "print Checkmk's agent section")
	nagios := c.Flags().Bool("nagios", false, "print one line for Nagios; implies --check")
	prometheus := c.Flags().String("prometheus", "", "write metrics to `FILE`, which ends in .prom")
	check := c.Flags().Bool("check", false, "exit by severity: 0 ok, 1 warning, 2 critical, 3 unknown")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := status(g, c)
		if err == nil {
			switch w := c.OutOrStdout(); {
			case *asJSON:
				err = s.JSON(w)
			case *section:
				err = s.Section(w)
			case *nagios:
				err = s.Nagios(w)
			case *prometheus != "":
				err = s.WritePrometheus(*prometheus)
			default:
				err = s.Print(w)
			}
		}
		switch {
		case *nagios && err != nil:
			return severityError{report.Unknown, report.NagiosUnknown(c.OutOrStdout(), err)}
		case *check && err != nil:
			return severityError{report.Unknown, err}
		case *check || *nagios:
			return severityError{s.Severity, nil}
		case err != nil || *section || *prometheus != "": // whoever reads these judges by what they say
			return err
		}
		return s.Err()
	}
	return c
}

func status(g *global, c *cobra.Command) (*report.Status, error) {
	if err := cli.AtMostOne(c, "json", "section", "nagios", "prometheus"); err != nil {
		return nil, err
	}
	a, err := g.agent(c)
	if err != nil {
		return nil, err
	}
	return a.Status()
}
