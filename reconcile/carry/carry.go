// Package carry is the commands that bring what is published to a store which no network reaches: bundle writes a
// difference to a file, apply verifies it and brings a store to its state, list says what a store has. What a bundle
// is, and what has to hold of one, is package serve/store/bundle's.
package carry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/bundle"
	"bakehouse/serve/store/stores"
)

// Verbs are those of `bakehouse store` that carry.
func Verbs() []*cobra.Command {
	return []*cobra.Command{bundleCommand(), applyCommand(), listCommand()}
}

// carried is what is to be written where.
type carried struct {
	desired.Where
	location, have, out string
	since               int64
}

// written is the result of bundle.
type written struct {
	From    int64 `json:"from"`
	To      int64 `json:"to"`
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"` // of the file
}

func bundleCommand() *cobra.Command {
	var o carried
	var signing *flags.Keys
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Write what a store lacks to a file, to be carried there",
		Long: strings.TrimSpace(`
Write the newest release, without what the receiving store has already, to one file. It is for a site or a server that
no network reaches: carry the file there and run "bakehouse store apply".

What the receiver has is said by --since, the version of its newest timestamp (store apply and store list print it), or
by --have, a file with what "bakehouse store list" prints there. Without either, everything is written.

The bundle is signed with the fleet's timestamp keys. The same difference is the same bytes, unless an ECDSA key signs.

Exit codes: 0 done, 1 error, 3 the store does not verify.`),
		Example: `  bakehouse store bundle --store /srv/bakehouse/store --since 41 -o site-42.bundle
  bakehouse store bundle --store /srv/bakehouse/store --have site.list -o site.bundle`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	flags.Repo(cmd, &o.Where)
	flags.Store(cmd, &o.location)
	f.Int64Var(&o.since, "since", 0, "version of the receiver's newest timestamp")
	f.StringVar(&o.have, "have", "", "`FILE` with what bakehouse store list prints at the receiver")
	f.StringVarP(&o.out, "output", "o", "", "`FILE` to write")
	settings.Trust(f, "output")
	cmd.MarkFlagsMutuallyExclusive("since", "have")
	signing = flags.AddKeys(cmd)
	asJSON := flags.AddJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w, err := o.write(cmd.Context(), signing)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return console.WriteJSON(cmd.OutOrStdout(), w)
		}
		from := "everything"
		if w.From > 0 {
			from = fmt.Sprintf("since timestamp %d", w.From)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: timestamp %d, %s: %s, %s\n", o.out, w.To, from,
			console.Count(w.Objects, "object"), console.Size(w.Bytes))
		return err
	}
	return cmd
}

// write makes the file whole, beside its place, before it gets its name.
func (o *carried) write(ctx context.Context, signing *flags.Keys) (_ *written, err error) {
	switch {
	case o.out == "":
		return nil, fault.Hint(errors.New("no file to write is named"), "set it with -o FILE")
	case o.since < 0:
		return nil, fault.Hint(fmt.Errorf("--since %d is not the version of a timestamp", o.since), "want 1 or more")
	}
	base := bundle.Base{Since: o.since}
	if o.have != "" {
		if base.Have, err = readKeys(o.have); err != nil {
			return nil, err
		}
	}
	st, err := stores.OpenExisting(ctx, o.location)
	if err != nil {
		return nil, err
	}
	f, err := desired.Top(ctx, o.Where)
	if err != nil {
		return nil, err
	}
	if _, err := publish.CheckRoots(ctx, st, f); err != nil {
		return nil, err
	}
	access, err := signing.Access(o.Repo)
	if err != nil {
		return nil, err
	}
	temp, err := os.CreateTemp(filepath.Dir(o.out), "."+filepath.Base(o.out)+"-*")
	if err != nil {
		return nil, fault.Hint(err, "set -o to a file in a directory that can be written")
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(temp.Close()), os.Remove(temp.Name()))
		}
	}()
	buffered := bufio.NewWriterSize(temp, 1<<20)
	index, err := bundle.Write(ctx, buffered, st, f.Roots[0], base, access.Open(ctx, f).SignBytes)
	if err != nil {
		return nil, err
	}
	w := &written{From: index.From, To: index.To, Objects: len(index.Objects)}
	if err := errors.Join(buffered.Flush(), temp.Sync()); err != nil {
		return nil, err
	}
	if w.Bytes, err = temp.Seek(0, io.SeekCurrent); err != nil {
		return nil, err
	}
	if err := temp.Close(); err != nil {
		return nil, err
	}
	return w, os.Rename(temp.Name(), o.out)
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// maxList bounds a list of keys, in bytes.
const maxList = 256 << 20

// readKeys reads what list printed. Keys of no form are of somebody else's file.
func readKeys(file string) (map[string]bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Hint(err, "--have names a file with what bakehouse store list prints at the receiver")
	}
	defer f.Close()
	keys := map[string]bool{}
	lines := bufio.NewScanner(io.LimitReader(f, maxList))
	for n := 1; lines.Scan(); n++ {
		key := lines.Text()
		if err := schema.CheckKey(key); err != nil {
			return nil, fault.Hint(fmt.Errorf("%s:%d: %w", file, n, err),
				"--have names a file with what bakehouse store list prints at the receiver")
		}
		keys[key] = true
	}
	return keys, lines.Err()
}

func applyCommand() *cobra.Command {
	var location, root string
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Verify a bundle and bring a store to its state",
		Long: strings.TrimSpace(`
Verify the bundle in FILE, which "bakehouse store bundle" wrote, and bring the store to the release in it. "bakehouse
serve" on that store notices the release without a restart.

Everything is verified before anything is written: the roots from the one that is held, the signature of the bundle, all
objects, and the whole release. An older bundle than the store, one of another fleet, and one that was altered or is
incomplete are refused. The new timestamp is written last: interrupted at any point, the store is at the old or at the
new release, and running it again completes it.

The first bundle goes into an empty store, with --root: the fleet's first root, from its config repo. Later ones are
verified from the store's first root, unless --root is set.

Exit codes: 0 done, 1 error, 3 the bundle was refused.`),
		Example: `  bakehouse store apply first.bundle --store /srv/bakehouse/store --root trust/1.root.json
  bakehouse store apply site-42.bundle --store /srv/bakehouse/store`,
		Args: cobra.ExactArgs(1),
	}
	flags.Store(cmd, &location)
	cmd.Flags().StringVar(&root, "root", "", "the fleet's first root, trust/1.root.json (default: the store's)")
	settings.Trust(cmd.Flags(), "root")
	asJSON := flags.AddJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		did, err := apply(cmd.Context(), args[0], location, root)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return console.WriteJSON(cmd.OutOrStdout(), did)
		}
		if !time.Now().Before(did.Expires) {
			console.Warn(cmd.ErrOrStderr(), "timestamp %d expired at %s: hosts install nothing new until a newer "+
				"bundle is applied", did.To, did.Expires.Format(time.RFC3339))
		}
		text := fmt.Sprintf("release %d is at timestamp %d: created %s, %s", did.Release, did.To,
			console.Count(did.Objects, "object"), console.Size(did.Bytes))
		if did.From == did.To {
			text = fmt.Sprintf("nothing to do: release %d is at timestamp %d already", did.Release, did.To)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
	return cmd
}

func apply(ctx context.Context, file, location, root string) (*bundle.Applied, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fault.Hint(fmt.Errorf("%s is not a regular file", file),
			"a bundle is read twice: copy it to a file")
	}
	to, err := stores.Open(ctx, location)
	if err != nil {
		return nil, err
	}
	anchor, err := held(ctx, to, location, root)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(f, info.Size())
	if err != nil {
		return nil, err
	}
	return bundle.Apply(ctx, b, to, anchor)
}

// held is the root to begin with. What a store has as its first root is not replaced by another.
func held(ctx context.Context, to store.Store, location, root string) ([]byte, error) {
	own, err := store.Read(ctx, to, schema.MetadataKey("root", 1), schema.MaxRoot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if root == "" {
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("store %s has no first root", location),
				"set --root to the fleet's first root, trust/1.root.json in its config repo; or correct --store")
		}
		return own, nil
	}
	given, readErr := os.ReadFile(root)
	if readErr != nil {
		return nil, fault.Hint(readErr, "--root names the fleet's first root, trust/1.root.json in its config repo")
	}
	if err == nil && !bytes.Equal(own, given) {
		return nil, fault.Refuse(fmt.Errorf("the first root of store %s is not %s", location, root),
			"it is another fleet's store, or --root is not the fleet's first root")
	}
	return given, nil
}

func listCommand() *cobra.Command {
	var location string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Print the keys of a store's objects",
		Long: strings.TrimSpace(`
Print the key of each object of the store, one a line, for "bakehouse store bundle --have". Nothing is verified.`),
		Example: `  bakehouse store list --store /srv/bakehouse/store > site.list`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := stores.OpenExisting(cmd.Context(), location)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			for e, err := range st.List(cmd.Context(), "", "") {
				if err != nil {
					return err
				}
				if !strings.HasPrefix(e.Key, schema.LockDir) {
					fmt.Fprintln(out, e.Key)
				}
			}
			return out.Flush()
		},
	}
	flags.Store(cmd, &location)
	return cmd
}
