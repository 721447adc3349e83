package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"

	"github.com/spf13/cobra"
)

// pluginCommand is `bakehouse plugin`.
func pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Show the plugins that rules can give to hosts, and their parameters",
		Long: strings.TrimSpace(`
A plugin is CUE in plugins/NAME/ of the fleet repository: from typed parameters, which rules set, it makes what a host
gets. Besides files that is services (with a listener, one for each connection), commands run at intervals, system users
and groups, relations to other packages, scripts for each step of installing and removing, and a health check.
"plugin schema" prints every field that a plugin has, with what each means and what scripts may rely on.`),
	}
	cmd.AddCommand(pluginListCommand(), pluginShowCommand(), pluginSchemaCommand())
	return cmd
}

func pluginSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print what a plugin can declare, as CUE with its documentation",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := schema.CUE.ReadFile("plugin.cue")
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return err
		},
	}
}

const pluginSources = `
Shown are the plugins of the fleet repository and those that come with bakehouse; outside of a repository, the latter.`

func pluginListCommand() *cobra.Command {
	var c flags.State
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the plugins and what each is for",
		Long:  "Prints the name of each plugin, where it comes from, and what it is for.\n" + pluginSources,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := pluginsOf(cmd, &c)
			if err != nil {
				return err
			}
			var out []pluginShown
			for _, name := range slices.Sorted(maps.Keys(all)) {
				out = append(out, showPlugin(all[name]))
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), out)
			}
			w := console.NewTable(cmd.OutOrStdout())
			for _, p := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.origin(), p.Doc)
			}
			return w.Flush()
		},
	}
	c.Add(cmd)
	asJSON = flags.AddJSON(cmd)
	return cmd
}

func pluginShowCommand() *cobra.Command {
	var c flags.State
	var asJSON *bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a plugin's parameters: types, defaults and what they mean",
		Long:    "Prints what rules for the plugin can set. Types and defaults are CUE, as the plugin writes them.\n" + pluginSources,
		Example: `  bakehouse plugin show updater`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := pluginsOf(cmd, &c)
			if err != nil {
				return err
			}
			p := all[args[0]]
			if p == nil {
				names := slices.Sorted(maps.Keys(all))
				hint := fleet.Nearest("did you mean %s?", args[0], names)
				if hint == "" {
					hint = "there are " + strings.Join(names, ", ")
				}
				return fault.Hint(fmt.Errorf("there is no plugin %.80q", args[0]), "%s", hint)
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), showPlugin(p))
			}
			return showPlugin(p).text(cmd.OutOrStdout())
		},
	}
	c.Add(cmd)
	asJSON = flags.AddJSON(cmd)
	return cmd
}

// pluginsOf are the plugins of the repo and the shipped ones, by name.
func pluginsOf(cmd *cobra.Command, c *flags.State) (map[string]*fleet.Plugin, error) {
	all, err := evaluate.Shipped(cmd.Context())
	if err != nil {
		return nil, err
	}
	own, err := ownPlugins(cmd.Context(), c, cmd.ErrOrStderr())
	if errors.Is(err, errNoRepo) && !cmd.Flags().Changed("repo") && !cmd.Flags().Changed("ref") && !cmd.Flags().Changed("worktree") {
		fmt.Fprintf(cmd.ErrOrStderr(), "bakehouse: note: %v; these come with bakehouse\n", err)
		return all, nil
	}
	maps.Copy(all, own)
	return all, err
}

var errNoRepo = errors.New("there is no fleet repository here")

func ownPlugins(ctx context.Context, c *flags.State, log io.Writer) (map[string]*fleet.Plugin, error) {
	s, err := c.Pin(log)
	if err == nil {
		_, err = fs.Stat(s.Files, "fleet.cue")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRepo, err)
	}
	r, err := s.Load(ctx)
	if err != nil {
		return nil, err
	}
	return r.Fleet.Plugins, nil
}

// pluginShown is a plugin as `plugin show --json` prints it.
type pluginShown struct {
	Name    string        `json:"name"`
	Doc     string        `json:"doc"`
	Shipped bool          `json:"shipped"` // it comes with bakehouse
	Folder  string        `json:"folder"`
	Combine fleet.Combine `json:"combine"`
	Inputs  []string      `json:"inputs"` // what the output depends on besides the parameters
	Params  []fleet.Param `json:"params"`
}

func showPlugin(p *fleet.Plugin) pluginShown {
	return pluginShown{p.Name, p.Doc, p.Shipped, p.Home, p.Combine, append([]string{}, p.Inputs()...), p.All()}
}

func (p pluginShown) origin() string {
	if p.Shipped {
		return "shipped"
	}
	return p.Folder
}

// text prints p for people.
func (p pluginShown) text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", p.Name, p.Doc)
	if p.Shipped {
		b.WriteString("It comes with bakehouse. ")
	} else {
		fmt.Fprintf(&b, "It is in %s. ", p.Folder)
	}
	fmt.Fprintf(&b, "Rules combine: %s.\n", p.Combine)
	if len(p.Inputs) > 0 {
		fmt.Fprintf(&b, "What it makes depends on %s as well.\n", strings.Join(p.Inputs, ", "))
	}
	for _, param := range p.Params {
		fmt.Fprintf(&b, "\n%s: %s\n", param.Name, param.Type)
		switch {
		case param.Required:
			b.WriteString("    must be set\n")
		case param.Secret:
			b.WriteString("    secret: neither errors nor explain tell it\n")
		case param.Default != "":
			fmt.Fprintf(&b, "    default: %s\n", strings.ReplaceAll(param.Default, "\n", "\n    "))
		}
		for _, part := range param.Secrets {
			fmt.Fprintf(&b, "    secret: %s; neither errors nor explain tell it\n", part)
		}
		for line := range strings.Lines(param.Doc) {
			b.WriteString(strings.TrimRight("    "+line, " \n") + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
