package key

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/keys"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

func exportCommand() *cobra.Command {
	var repo, out string
	var public bool
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "Copy a key's encrypted private half, or its public half",
		Long: `Copy a key's private half, as it is kept: encrypted with its passphrase, never in the clear. "key import" on
the other machine imports it. A key in a key service cannot be exported.

With --public it is the public half, as PEM: what a host without a package is to accept (bakehouse-agent register
--key).`,
		Example: "  bakehouse key export release -o release.key\n  bakehouse key export release --public > release.pem",
		Args:    cobra.ExactArgs(1),
	}
	flags.Worktree(c, &repo)
	with := &flags.Keys{Cmd: c}
	with.AddDir()
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default standard output)")
	c.Flags().BoolVar(&public, "public", false, "export the public half")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.LoadFleet(cmd.Context(), repo)
		if err != nil {
			return err
		}
		ring := keys.Open(f, with.Dir, nil)
		key, err := ring.Key(args[0])
		if err != nil {
			return err
		}
		b, mode := []byte(key.Public), fs.FileMode(0o644)
		if !public {
			if b, err = ring.Export(key.Name); err != nil {
				return err
			}
			mode = 0o600
		}
		if out == "" {
			_, err = cmd.OutOrStdout().Write(b)
			return err
		}
		err = durable.Create(out, bytes.NewReader(b), mode)
		if errors.Is(err, os.ErrExist) {
			err = fault.Hint(fmt.Errorf("%s exists", out), "choose another file with -o")
		}
		return err
	}
	return c
}
