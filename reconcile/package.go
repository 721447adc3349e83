package reconcile

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/command"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// PackageCommand is `bakehouse package`.
func PackageCommand() *cobra.Command {
	var o verifyOptions
	var out, pgp string
	var pass *keys.PassphraseSource
	var verify, all bool
	cmd := &cobra.Command{
		Use:   "package HOST",
		Short: "Fetch a host's published package from the store, to install it by hand the first time, or bake it again and compare",
		Long: `Verifies the published release from the repository's trust/1.root.json, puts the host's package together and writes
it to a file. Prints the file's name, size and digest.

With --openpgp-key the file is a copy that carries a signature by that OpenPGP secret key as rpm and repositories' tools
look for it: an rpm over its header, a deb in the member _gpgorigin, as debsigs has it. A detached signature over the copy
goes to FILE.asc. It is the same package for all that: a host whose package it is updates from it as from the published
one, of which nothing changes. The key's passphrase comes from BAKEHOUSE_PASSPHRASE_OPENPGP, --passphrase-file,
--passphrase-fd or a prompt.

With --verify nothing is written: the package is baked again, from the commit that the release names or from --ref, and
compared with the published one. Nothing but source files is taken from the store for that, and those by their digests.
What differs is said field by field and file by file, and the command exits with 3. --all does so for every package of the
release.`,
		Example: `  bakehouse package web01 -o web01.deb
  bakehouse package web01 -o web01.rpm --openpgp-key release.asc
  bakehouse package list
  bakehouse package --verify web01
  bakehouse package --verify --all --jobs 4`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !verify {
				if all {
					return fault.Hint(errors.New("--all is for --verify"), "bakehouse package --verify --all")
				}
				var key *openPGPKey
				if pgp != "" {
					if out == "-" {
						return fault.Hint(errors.New("a signed copy is written to a file, with its signature beside it"), "name a file with -o")
					}
					var err error
					if key, err = readOpenPGPKey(pgp, pass.Passphrase(cmd.Context())); err != nil {
						return err
					}
				}
				return fetchPackage(cmd.Context(), cmd.OutOrStdout(), o.Where, o.location, args[0], out, key)
			}
			if out != "" || pgp != "" {
				return fault.Hint(errors.New("--verify writes no file"), "leave -o and --openpgp-key out, or fetch the package without --verify")
			}
			if cmd.Flag("ref").Changed {
				o.commit = o.Ref
			}
			if !all {
				o.host = args[0]
				if err := schema.CheckHostName(o.host); err != nil {
					return err
				}
			}
			return verifyPackages(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "file to write, - for standard output (default HOST.FORMAT)")
	f.StringVar(&pgp, "openpgp-key", "", "file with an OpenPGP secret key: write a signed copy, and its detached signature to FILE.asc")
	pass = command.AddPassphraseFlags(cmd, "passphrase", "the passphrase of that key")
	f.BoolVar(&verify, "verify", false, "bake the package again and compare it with the published one")
	f.BoolVar(&all, "all", false, "with --verify: every published package")
	jobsFlag(cmd, &o.jobs)
	repoFlags(cmd, &o.Where)
	storeFlag(cmd, &o.location)
	o.programs.Flags(cmd)
	cmd.AddCommand(packageListCommand())
	return cmd
}

func fetchPackage(ctx context.Context, stdout io.Writer, where desired.Where, location, host, out string, key *openPGPKey) error {
	if err := schema.CheckHostName(host); err != nil {
		return err
	}
	anchor, err := desired.Anchor(where)
	if err != nil {
		return err
	}
	st, err := store.OpenExisting(ctx, location)
	if err != nil {
		return err
	}
	client, src, err := openPublished(ctx, st, anchor)
	if err != nil {
		return err
	}
	a, err := assignmentOf(ctx, client, src, host)
	if err != nil {
		return err
	}
	m, err := readManifest(ctx, st, a.Manifest)
	if err != nil {
		return err
	}
	if m.SHA256 != a.SHA256 || m.Size != a.Length {
		return fault.Refuse(fmt.Errorf("the manifest of host %s describes another package than the signed one", host),
			"restore the store from a backup, or find out who wrote to it")
	}
	open := segmentsOf(ctx, st)
	if out == "-" {
		return m.Assemble(stdout, open)
	}
	if out == "" {
		out = host + "." + string(m.Format)
	}
	if key != nil {
		return sealedTo(stdout, out, m, open, key)
	}
	if err := assembleTo(out, func(w io.Writer) error { return m.Assemble(w, open) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\t%d bytes\t%s\n", out, m.Size, m.SHA256)
	return err
}

// openPublished verifies the head of the store.
func openPublished(ctx context.Context, st store.Store, anchor []byte) (*trust.Client, trust.Source, error) {
	client, err := trust.Open("", anchor, time.Now)
	if err != nil {
		return nil, nil, err
	}
	src := trust.StoreSource(st, func(ctx context.Context) (int64, error) { return store.Head(ctx, st) })
	if err := client.Refresh(ctx, src, nil); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fault.Hint(err, "publish a release first: bakehouse reconcile")
		}
		return nil, nil, err
	}
	return client, src, nil
}

// assignmentOf returns what the verified release gives the host.
func assignmentOf(ctx context.Context, client *trust.Client, src trust.Source, host string) (*schema.Assignment, error) {
	a, err := client.Assignment(ctx, src, host)
	if errors.Is(err, trust.ErrNoTarget) {
		return nil, fault.Hint(fmt.Errorf("the published release has no package for host %s", host),
			"check the name, and that its commit was reconciled: bakehouse explain %s", host)
	}
	return a, err
}

// readManifest reads a manifest and checks it against its digest.
func readManifest(ctx context.Context, st store.Store, d schema.Digest) (*schema.Manifest, error) {
	b, err := store.Read(ctx, st, schema.ManifestKey(d), schema.MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Short(), err)
	}
	m, err := schema.DecodeManifest(b, d)
	if err != nil {
		return nil, fault.Refuse(err, "the store is altered or damaged: run `bakehouse store fsck`")
	}
	return m, nil
}

// sealedTo writes a signed copy of the package and a detached signature over it.
func sealedTo(stdout io.Writer, file string, m *schema.Manifest, open func(schema.SegmentRef) (io.ReadCloser, error), key *openPGPKey) error {
	whole, err := os.CreateTemp("", "bakehouse-package-*")
	if err != nil {
		return err
	}
	defer func() { _, _ = whole.Close(), os.Remove(whole.Name()) }()
	if err := m.Assemble(whole, open); err != nil {
		return err
	}
	sum := sha256.New()
	var size int64
	if err := assembleTo(file, func(w io.Writer) error { return bake.Seal(io.MultiWriter(w, sum), whole, m.Size, m.Format, key) }); err != nil {
		return err
	}
	sealed, err := os.Open(file)
	if err != nil {
		return err
	}
	defer sealed.Close()
	if fi, err := sealed.Stat(); err == nil {
		size = fi.Size()
	}
	if err := assembleTo(file+".asc", func(w io.Writer) error { return key.armored(w, sealed) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\t%d bytes\t%s\tsigned copy of %s, see also %s.asc\n", file, size, schema.Digest(sum.Sum(nil)), m.SHA256, file)
	return err
}

// assembleTo writes beside the final name first, so that a failure leaves nothing half done.
func assembleTo(file string, assemble func(io.Writer) error) (err error) {
	// The name of the temporary file would say nothing.
	unwritten := func(err error) error {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fault.Hint(fmt.Errorf("write %s: %w", file, err), "choose another file with -o")
	}
	if fi, err := os.Stat(file); err == nil && !fi.Mode().IsRegular() {
		// A device or a pipe is written to: a rename would put a file in its place.
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return unwritten(err)
		}
		return errors.Join(assemble(f), f.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return unwritten(err)
	}
	defer func() {
		if err == nil {
			return
		}
		_, _ = tmp.Close(), os.Remove(tmp.Name())
		var pe *fs.PathError
		if errors.As(err, &pe) && pe.Path == tmp.Name() {
			err = unwritten(err)
		}
	}()
	w := bufio.NewWriterSize(tmp, 256<<10)
	if err := assemble(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

func repoFlags(cmd *cobra.Command, w *desired.Where) {
	cmd.Flags().StringVar(&w.Repo, "repo", ".", "the fleet repository")
	cmd.Flags().StringVar(&w.Ref, "ref", "HEAD", "the branch, tag or commit to read")
}

// cacheFlag adds --cache-dir.
func cacheFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "cache-dir", desired.DefaultCacheDir(),
		"folder that keeps what was evaluated before, this user's alone: what stands in it decides what is signed. Empty: none")
}

func storeFlag(cmd *cobra.Command, location *string) {
	cmd.Flags().StringVar(location, "store", "store", "where packages and metadata are kept: a folder")
}
