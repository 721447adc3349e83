package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

func diagnoseCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "diagnose [FILE]",
		Short: "Write what others need to help this host, without secrets, to a file",
		Long: `Write a tar.gz that helps somebody who cannot see this host: its status, settings and state, the end of
the log, which metadata are verified, what the package manager and systemd say, file systems, and whether each server
answers.

No secret is in it: not the host's, not a proxy's password. It has names of hosts, servers and paths, so look through it
before it leaves your hands. FILE must not exist; without one it is bakehouse-diagnose-TIME.tar.gz here.

It changes nothing on the host, and works while an update hangs.`,
		Args: cobra.MaximumNArgs(1),
	}
	offline := c.Flags().Bool("offline", false, "ask no server")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		name := "bakehouse-diagnose-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
		if len(args) > 0 {
			name = args[0]
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fault.Hint(err, "set another FILE, or remove that one")
		}
		if err != nil {
			return fault.Hint(err, "set a FILE in a directory that is there and that this user may write to")
		}
		parts, err := a.Diagnose(c.Context(), f, *offline)
		if err = cmp.Or(err, f.Close()); err != nil {
			os.Remove(name)
			return err
		}
		switch {
		case *asJSON:
			return writeJSON(c.OutOrStdout(), struct {
				File  string   `json:"file"`
				Parts []string `json:"parts"`
			}{name, parts})
		case !g.quiet:
			_, err = fmt.Fprintf(c.OutOrStdout(), "written: %s\n", name)
		}
		return err
	}
	return c
}
