// Package storage has the verbs of `bakehouse store`.
package storage

import (
	"encoding/json"
	"fmt"
	"io"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"

	"github.com/spf13/cobra"
)

// Command is `bakehouse store`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Maintain the store of published packages and metadata",
	}
	cmd.AddCommand(fsckCommand(), gcCommand(), copyCommand())
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
			s, err := stores.OpenExisting(ctx, location)
			if err != nil {
				return err
			}
			out := newFsckPrinter(cmd.OutOrStdout(), asJSON)
			sum, err := maintain.Fsck(ctx, s, assemble, out.finding)
			if err != nil {
				return err
			}
			if err := out.summary(sum); err != nil {
				return err
			}
			if sum.Errors > 0 {
				return fault.Refuse(fmt.Errorf("store %s: %s", location, console.Count(sum.Errors, "error")),
					"restore the named objects from a copy of the store; or delete those in %s, %s and %s that are "+
						"altered, and bake them again: bakehouse reconcile --full",
					schema.SegmentDir, schema.PayloadDir, schema.ContentsDir)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&location, "store", "store", "`LOCATION` of the store: "+stores.Form)
	cmd.Flags().BoolVar(&assemble, "assemble", false,
		"also put every package together and compare its digest (reads each segment once per package)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per finding, then one with the summary")
	settings.Setting(cmd.Flags(), "assemble", "json")
	settings.Trust(cmd.Flags(), "store")
	return cmd
}

// fsckPrinter writes findings as they come.
type fsckPrinter struct {
	w    io.Writer
	json *json.Encoder
	err  error // the first failure to write
}

func newFsckPrinter(w io.Writer, asJSON bool) *fsckPrinter {
	p := &fsckPrinter{w: w}
	if asJSON {
		p.json = json.NewEncoder(w)
	}
	return p
}

func (p *fsckPrinter) finding(f maintain.Finding) {
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

func (p *fsckPrinter) summary(s maintain.Summary) error {
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
	_, err := fmt.Fprintf(p.w, "%s: %s, %d bytes read: %s, %s\n", head, console.Count(s.Objects, "object"), s.Bytes,
		console.Count(s.Errors, "error"), console.Count(s.Notes, "note"))
	return err
}
