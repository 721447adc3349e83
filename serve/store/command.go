package store

import (
	"encoding/json"
	"fmt"
	"io"

	"bakehouse/reconcile/settings"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// Command is the command `store` with what operators do to a store; more are subcommands that other packages offer.
func Command(more ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after the store of published packages and metadata",
	}
	cmd.AddCommand(fsckCommand())
	cmd.AddCommand(more...)
	return cmd
}

func fsckCommand() *cobra.Command {
	var location string
	var assemble, asJSON bool
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Read the whole store and report what is altered, missing or left over",
		Long: `Read every object of the store and compare it with the digest it is stored under; check that every package's
segments are there, that they inflate to what they claim, and that nothing is missing that a published release names.
Nothing is changed. Signatures are not checked: reconcile, serve and every host do that.

Each finding is a line on standard output: "error" for what is altered, missing or broken, "note" for what is
harmless, such as what an interrupted run left.

Exit codes: 0 no errors (notes do not count), 1 the store could not be read, 3 at least one error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := OpenExisting(ctx, location)
			if err != nil {
				return err
			}
			out := newPrinter(cmd.OutOrStdout(), asJSON)
			sum, err := Fsck(ctx, s, assemble, out.finding)
			if err != nil {
				return err
			}
			if err := out.summary(sum); err != nil {
				return err
			}
			if sum.Errors > 0 {
				return fault.Refuse(fmt.Errorf("store %s: %s", location, count(sum.Errors, "error")),
					"restore the named objects from a copy of the store; what can be baked again may be deleted and reconciled anew")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&location, "store", "store", "the store: a directory, or file:// and a directory")
	cmd.Flags().BoolVar(&assemble, "assemble", false, "also put every package together and compare its digest (reads each segment once per package)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per finding, then one with the summary")
	settings.Setting(cmd.Flags(), "assemble", "json")
	settings.Trust(cmd.Flags(), "store")
	return cmd
}

// printer writes findings as they come.
type printer struct {
	w    io.Writer
	json *json.Encoder
	err  error // the first failure to write
}

func newPrinter(w io.Writer, asJSON bool) *printer {
	p := &printer{w: w}
	if asJSON {
		p.json = json.NewEncoder(w)
	}
	return p
}

func (p *printer) finding(f Finding) {
	if p.err != nil {
		return
	}
	kind := "error"
	if f.Note {
		kind = "note"
	}
	if p.json != nil {
		p.err = p.json.Encode(struct {
			Kind string `json:"kind"`
			Key  string `json:"key"`
			Text string `json:"text"`
		}{kind, f.Key, f.Err.Error()})
		return
	}
	_, p.err = fmt.Fprintf(p.w, "%s: %s: %s\n", kind, f.Key, f.Err)
}

func (p *printer) summary(s Summary) error {
	if p.err != nil {
		return p.err
	}
	if p.json != nil {
		return p.json.Encode(struct {
			Kind    string `json:"kind"`
			Head    int64  `json:"head"`
			Objects int    `json:"objects"`
			Bytes   int64  `json:"bytes"`
			Errors  int    `json:"errors"`
			Notes   int    `json:"notes"`
		}{"summary", s.Head, s.Objects, s.Bytes, s.Errors, s.Notes})
	}
	head := "nothing published"
	if s.Head > 0 {
		head = fmt.Sprintf("timestamp %d", s.Head)
	}
	_, err := fmt.Fprintf(p.w, "%s: %s, %d bytes read: %s, %s\n", head, count(s.Objects, "object"), s.Bytes,
		count(s.Errors, "error"), count(s.Notes, "note"))
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
