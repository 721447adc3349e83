package keys

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

func keyExportCommand() *cobra.Command {
	var access Access
	var repo, out string
	var public bool
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "Copy a key's encrypted private half, or its public half",
		Long: `Copy a key's private half, as it is kept: encrypted with its passphrase, never in the clear. "key import" on the other
machine takes it in. A key in a key service cannot be exported.

With --public it is the public half, as PEM: what a host without a package is told to accept (bakehouse-agent register --key).`,
		Example: "  bakehouse key export release -o release.key\n  bakehouse key export release --public > release.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			ring := Open(f, access.dir, nil)
			key, err := ring.Key(args[0])
			if err != nil {
				return err
			}
			b, mode := []byte(key.Public), fs.FileMode(0o644)
			if !public {
				if b, err = ring.export(key); err != nil {
					return err
				}
				mode = 0o600
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(b)
				return err
			}
			if err := absent(out, "choose another file with -o"); err != nil {
				return err
			}
			return durable.Create(out, bytes.NewReader(b), mode)
		},
	}
	repoFlag(c, &repo)
	c.Flags().StringVar(&access.dir, "key-dir", DefaultDir(), "folder of the private halves of keys")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write (default standard output)")
	c.Flags().BoolVar(&public, "public", false, "export the public half")
	return c
}

// export is the file of a private half, once it is known to be encrypted.
func (k *Keyring) export(key *fleet.Key) ([]byte, error) {
	if strings.Contains(key.Private, "://") {
		return nil, fault.Hint(fmt.Errorf("key %s is in a key service (%s), which it does not leave", key.Name, key.Private), "give the other machine access to the service")
	}
	path, err := k.path(key)
	if err != nil {
		return nil, err
	}
	b, err := readPrivate(path)
	if err == nil {
		err = checkEncrypted(b)
	}
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("key %s (%s): %w", key.Name, path, err), "name the folder of the private keys with --key-dir")
	}
	return b, nil
}

func keyPassphraseCommand() *cobra.Command {
	var access Access
	var fresh prompted
	var repo string
	c := &cobra.Command{
		Use:   "passphrase NAME",
		Short: "Change the passphrase of a key on this machine",
		Long: `Change the passphrase of a key on this machine. The file with the old one stays whole until the new one is on the disk.
Copies elsewhere keep the old passphrase, and nobody can recover a lost one.

The old passphrase comes from where every command takes it; the new one from --new-passphrase-file, --new-passphrase-fd or a
prompt.`,
		Example: "  bakehouse key passphrase release",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			ring := Open(f, access.dir, passphrases(cmd.Context(), &access.pass))
			path, err := ring.changePassphrase(durable.Disk{}, args[0], func() ([]byte, error) {
				return fresh.get("the new passphrase of key "+args[0], "give --new-passphrase-file or --new-passphrase-fd, or run on a terminal", true)
			})
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is encrypted with the new passphrase\n", path)
			}
			return err
		},
	}
	repoFlag(c, &repo)
	c.Flags().StringVar(&access.dir, "key-dir", DefaultDir(), "folder of the private halves of keys")
	access.pass.flags(c.Flags(), "passphrase", "the old passphrase")
	fresh.flags(c.Flags(), "new-passphrase", "the new passphrase")
	return c
}

// changePassphrase encrypts the key's private half anew. It returns the file's path.
func (k *Keyring) changePassphrase(disk durable.Disk, name string, fresh func() ([]byte, error)) (string, error) {
	key, err := k.Key(name)
	if err != nil {
		return "", err
	}
	if strings.Contains(key.Private, "://") {
		return "", fmt.Errorf("key %s is in a key service (%s) and has no passphrase here", name, key.Private)
	}
	priv, err := k.private(key)
	if err != nil {
		return "", fault.Hint(err, "%s", orHint(err, "name the folder of the private keys with --key-dir"))
	}
	signer, err := LoadSigner(priv)
	if err != nil {
		return "", err
	}
	if err := samePublic(signer, key); err != nil {
		return "", err
	}
	pass, err := fresh()
	if err != nil {
		return "", err
	}
	b, err := encrypt(priv, pass)
	if err != nil {
		return "", err
	}
	path, err := k.path(key)
	if err != nil {
		return "", err
	}
	return path, disk.WriteFile(path, b, 0o600)
}

// orHint is err's own hint, or else the first of the others.
func orHint(err error, hints ...string) string {
	return cmp.Or(append([]string{fault.HintOf(err)}, hints...)...)
}

// service opens a key service for a command.
func (a *Access) service(ctx context.Context, repo, uri string) (keyService, error) {
	k, err := a.Open(ctx, &fleet.Fleet{}, repo)
	if err != nil {
		return nil, err
	}
	return k.service(ctx, uri)
}

// keyShowCommand is `bakehouse key show`.
func keyShowCommand() *cobra.Command {
	var access Access
	var repo string
	var asJSON bool
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a key: its public half as PEM on standard output, what is known of it beside",
		Example: "  bakehouse key show release\n  bakehouse key show release > release.pem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			ring, err := access.Open(cmd.Context(), f, repo)
			if err != nil {
				return err
			}
			key, err := ring.Key(args[0])
			if err != nil {
				return err
			}
			info, err := ring.info(key, f.KeyExpiry)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), info)
			}
			if err := info.tell(cmd.ErrOrStderr()); err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), key.Public)
			return err
		},
	}
	repoFlag(c, &repo)
	c.Flags().StringVar(&access.dir, "key-dir", DefaultDir(), "folder of the private halves of keys")
	access.pluginFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
