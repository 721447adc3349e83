package reconcile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// PackageCommand is `bakehouse package`.
func PackageCommand() *cobra.Command {
	var repo, ref, location, out string
	cmd := &cobra.Command{
		Use:   "package HOST",
		Short: "Fetch a host's published package from the store, to install it by hand the first time",
		Long: `Verifies the published release from the repository's trust/1.root.json, puts the host's package together and writes
it to a file. Prints the file's name, size and digest.`,
		Example: `  bakehouse package web01 -o web01.deb`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return fetchPackage(cmd.Context(), cmd.OutOrStdout(), repo, ref, location, args[0], out)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "file to write, - for standard output (default HOST.FORMAT)")
	repoFlags(cmd, &repo, &ref)
	storeFlag(cmd, &location)
	return cmd
}

func fetchPackage(ctx context.Context, stdout io.Writer, repo, ref, location, host, out string) error {
	if err := schema.CheckHostName(host); err != nil {
		return err
	}
	anchor, err := anchorOf(repo, ref)
	if err != nil {
		return err
	}
	st, err := store.OpenExisting(ctx, location)
	if err != nil {
		return err
	}
	a, err := published(ctx, st, anchor, host)
	if err != nil {
		return err
	}
	m, err := readManifest(ctx, st, a.Manifest)
	if err != nil {
		return err
	}
	if m.SHA256 != a.SHA256 || m.Size != a.Length {
		return schema.Refuse(fmt.Errorf("the manifest of host %s describes another package than the signed one", host),
			"restore the store from a backup, or find out who wrote to it")
	}
	open := func(ref schema.SegmentRef) (io.ReadCloser, error) { return st.Open(ctx, schema.SegmentKey(ref.Digest)) }
	if out == "-" {
		return m.Assemble(stdout, open)
	}
	if out == "" {
		out = host + "." + string(m.Format)
	}
	if err := assembleTo(out, m, open); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\t%d bytes\t%s\n", out, m.Size, m.SHA256)
	return err
}

// anchorOf reads the first root from the repo: every later one chains from it.
func anchorOf(repo, ref string) ([]byte, error) {
	r, err := source.Open(repo)
	if err != nil {
		return nil, err
	}
	rev, err := r.Revision(ref)
	if err != nil {
		return nil, err
	}
	b, err := fs.ReadFile(rev.FS, "trust/1.root.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, schema.Hint(fmt.Errorf("commit %.12s has no trust/1.root.json", rev.Commit),
			"make the root with `bakehouse root init` and commit it")
	}
	return b, err
}

// published returns what the verified head of the store gives the host.
func published(ctx context.Context, st store.Store, anchor []byte, host string) (*schema.Assignment, error) {
	client, err := trust.Open("", anchor, time.Now)
	if err != nil {
		return nil, err
	}
	src := trust.StoreSource(st, func(ctx context.Context) (int64, error) { return store.Head(ctx, st) })
	if err := client.Refresh(ctx, src, nil); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, schema.Hint(err, "publish a release first: bakehouse reconcile")
		}
		return nil, err
	}
	a, err := client.Assignment(ctx, src, host)
	if errors.Is(err, trust.ErrNoTarget) {
		return nil, schema.Hint(fmt.Errorf("the published release has no package for host %s", host),
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
		return nil, schema.Refuse(err, "the store is altered or damaged: run `bakehouse store fsck`")
	}
	return m, nil
}

// assembleTo writes the package beside its final name first, so that a failure leaves nothing half done.
func assembleTo(file string, m *schema.Manifest, open func(schema.SegmentRef) (io.ReadCloser, error)) (err error) {
	// The name of the temporary file would say nothing.
	unwritten := func(err error) error {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return schema.Hint(fmt.Errorf("write %s: %w", file, err), "choose another file with -o")
	}
	if fi, err := os.Stat(file); err == nil && !fi.Mode().IsRegular() {
		// A device or a pipe is written to: a rename would put a file in its place.
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return unwritten(err)
		}
		return errors.Join(m.Assemble(f, open), f.Close())
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
	if err := m.Assemble(w, open); err != nil {
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

func repoFlags(cmd *cobra.Command, repo, ref *string) {
	cmd.Flags().StringVar(repo, "repo", ".", "the fleet repository")
	cmd.Flags().StringVar(ref, "ref", "HEAD", "the branch, tag or commit to read")
}

func storeFlag(cmd *cobra.Command, location *string) {
	cmd.Flags().StringVar(location, "store", "store", "where packages and metadata are kept: a folder")
}
