package packages

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/rebuild"
)

// reproduceCommand is `bakehouse reproduce`.
// Reproduce is `bakehouse reproduce`.
func Reproduce() *cobra.Command {
	var o rebuild.Options
	var file string
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "reproduce HASH",
		Short: "Say where an installed package comes from, and make it again byte for byte",
		Long: `Finds the package that a hash means among the releases that the store keeps, verified from the repository's
trust/1.root.json: release, commit and recipe, the hosts that were given it, who signed it, and every file in it with
its digest. The hash is the sha256 of a package or of its manifest, the first 16 digits of either, or a recipe; a host
shows its own with "bakehouse-agent status".

--bake FILE also writes the package: assembled from the store, or baked again from the commit if its segments are gone.
It is written only if it has the digest that was asked for.

For a package whose release is not kept any more ("bakehouse store gc"), --commit sets where to look: every package that
this commit yields is baked and compared.`,
		Example: `  bakehouse reproduce 1f0c3ab29e54d6b7
  bakehouse reproduce 1f0c3ab29e54d6b7 --bake web01.deb
  bakehouse reproduce 1f0c3ab29e54d6b7 --commit v2026.3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var write func(assemble func(io.Writer) error) error
			switch file {
			case "":
			case "-":
				write = func(assemble func(io.Writer) error) error { return assemble(cmd.OutOrStdout()) }
			default:
				write = func(assemble func(io.Writer) error) error { return assembleTo(file, assemble) }
			}
			found, err := rebuild.Reproduce(cmd.Context(), o, args[0], cmd.ErrOrStderr(), write)
			if err != nil || file == "-" {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), found)
			}
			var texts []string
			for _, origin := range found {
				texts = append(texts, provenanceText(origin))
			}
			_, err = io.WriteString(cmd.OutOrStdout(), strings.Join(texts, "\n"))
			return err
		},
	}
	flags.Repo(cmd, &o.Where)
	flags.Store(cmd, &o.Store)
	flags.Programs(cmd, &o.Programs)
	flags.Jobs(cmd, &o.Jobs)
	f := cmd.Flags()
	f.StringVar(&file, "bake", "", "write the package to this file, - for standard output instead of the report")
	f.StringVar(&o.Commit, "commit", "", "look in what this commit yields, and not in the releases of the store")
	asJSON = flags.AddJSON(cmd)
	return cmd
}

// provenanceText is o for people.
func provenanceText(o *rebuild.Provenance) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("package", "%s", o.Package)
	line("", "%s %s, %s %s, %s, bake version %d", o.Name, o.Version, o.Platform, o.Format, console.Size(o.Size), o.Bake)
	line("manifest", "%s", o.Manifest)
	line("recipe", "%s", o.Recipe)
	switch r := o.Release; {
	case r != nil && r.Number > 0:
		line("release", "%d, issued %s by bakehouse %s", r.Number, r.Issued.Format(time.RFC3339), r.Tool)
		line("commit", "%s", r.Commit)
		line("tree", "%s", r.Tree)
	case r != nil:
		line("commit", "%s", r.Commit)
		line("tree", "%s", r.Tree)
	default:
		line("release", "not kept: gc took the releases that gave it to a host first")
	}
	line("signed by", "%s", cmp.Or(strings.Join(o.SignedBy, ", "), "no key of the repository"))
	for _, id := range o.Unknown {
		line("", "and key id %s, which is none of the repository's or did not make it", id)
	}
	for i, g := range o.Hosts {
		what := map[string]string{"newest": "it is the host's newest", "older": "the host has a newer one"}[g.Now]
		since := ""
		if g.Release > 0 {
			since = fmt.Sprintf(" since release %d (%s)", g.Release, g.Since.Format(time.RFC3339))
		}
		line(map[bool]string{true: "hosts"}[i == 0], "%s%s%s", g.Host, since,
			prefixed("; ", cmp.Or(what, "not any more")))
	}
	for i, f := range o.Files {
		line(map[bool]string{true: "files"}[i == 0], "%s", f)
	}
	return b.String()
}

func prefixed(with, text string) string {
	if text == "" {
		return ""
	}
	return with + text
}
