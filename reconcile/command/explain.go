package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/rules"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"

	"github.com/spf13/cobra"
)

// explainCommand is `bakehouse explain`.
func explainCommand() *cobra.Command {
	var c flags.State
	var selection bool
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "explain HOST [PLUGIN[.PARAM]]",
		Short: "Say what a host gets, and which line of which file decides",
		Long: strings.TrimSpace(`
Prints a host's attributes and the parameters of its plugins: each value, the place that sets it, and the weaker
rules that it beats. A value that no rule sets is the plugin's default, at the place that declares it.
What plugins do as root on the host comes last.

With --select it says instead whether the host gets updates, and which condition of rollout.select decides.`),
		Example: `  bakehouse explain web01
  bakehouse explain --select web01
  bakehouse explain web01 updater.interval`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.Pin(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			r, err := s.Load(cmd.Context())
			if err != nil {
				return err
			}
			f := r.Fleet
			if selection {
				return explainSelection(cmd.OutOrStdout(), f, args, *asJSON)
			}
			e, err := rules.Explain(cmd.Context(), f, r, args[0])
			if err != nil {
				return noHost(err, f, args[0])
			}
			if len(args) == 2 {
				if err := narrow(e, args[1]); err != nil {
					return err
				}
			}
			root := rootEffective(e, fleet.MaskOf(f.Secrets()), args[1:])
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), struct {
					*rules.Explanation
					Root []rootItem `json:"root,omitempty"`
				}{e, root})
			}
			return explain(cmd.OutOrStdout(), e, root)
		},
	}
	c.Add(cmd)
	asJSON = flags.AddJSON(cmd)
	cmd.Flags().BoolVar(&selection, "select", false, "say whether the host gets updates, and which condition decides")
	return cmd
}

// explainSelection prints whether the host gets updates, and why.
func explainSelection(out io.Writer, f *fleet.Fleet, args []string, asJSON bool) error {
	if len(args) > 1 {
		return fault.Hint(fmt.Errorf("--select asks about a host, not about %q", args[1]),
			"leave the plugin out, or --select")
	}
	s, err := rules.Select(f, args[0])
	if err != nil {
		return noHost(err, f, args[0])
	}
	if asJSON {
		return console.WriteJSON(out, s)
	}
	answer := "no"
	if s.Updates {
		answer = "yes"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: updates: %s (%s: %s)\n", s.Host, answer, s.Code, s.Why)
	for _, c := range s.Conditions {
		holds := "does not hold"
		if c.Holds {
			holds = "holds"
		}
		fmt.Fprintf(&b, "  rollout.select: %s %s\n", c.What, holds)
	}
	_, err = io.WriteString(out, b.String())
	return err
}

// narrow keeps of e only the plugin, or the plugin's parameter, that is asked for.
func narrow(e *rules.Explanation, what string) error {
	if e.Retired {
		return nil
	}
	plugin, param, one := strings.Cut(what, ".")
	var names []string
	for _, p := range e.Plugins {
		names = append(names, p.Name)
		if p.Name != plugin {
			continue
		}
		if one {
			params := p.Params
			p.Params = slices.DeleteFunc(slices.Clone(params), func(x rules.Explained) bool { return x.Name != param })
			if len(p.Params) == 0 {
				var have []string
				for _, x := range params {
					have = append(have, x.Name)
				}
				return fault.Hint(fmt.Errorf("plugin %s of host %s has no value for %q", plugin, e.Host, param), "it has %s",
					strings.Join(have, ", "))
			}
		}
		e.Attributes, e.Plugins = nil, []rules.PluginExplained{p}
		return nil
	}
	return fault.Hint(fmt.Errorf("no rule gives host %s the plugin %q", e.Host, plugin), "it has %s",
		strings.Join(names, ", "))
}

// rootItem is something in a host's package that acts as root.
type rootItem struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Why    string `json:"why"`
	Plugin string `json:"plugin"`
}

// rootEffective lists what acts as root on the host, or of one plugin if it is asked for, and nothing if a parameter
// is.
func rootEffective(e *rules.Explanation, m fleet.Mask, what []string) (out []rootItem) {
	for _, it := range plan.Effective(e.Content, m) {
		if len(what) == 0 || what[0] == it.Plugin {
			out = append(out, rootItem{it.Kind, it.Name, it.Root, it.Plugin})
		}
	}
	return out
}

// explain prints e for people.
func explain(out io.Writer, e *rules.Explanation, root []rootItem) error {
	var table bytes.Buffer
	w := console.NewTable(&table)
	if e.Retired {
		_, err := fmt.Fprintf(out, "%s is retired: no package is published for it  %s\n", e.Host, e.Pos)
		return err
	}
	if e.Attributes != nil {
		folder := e.Folder
		if folder == "" {
			folder = "hosts"
		}
		fmt.Fprintf(w, "%s\tin folder %s\t%s\n", e.Host, folder, e.Pos)
		if len(e.Was) > 0 {
			fmt.Fprintf(w, "  was\t%s\t\n", strings.Join(e.Was, ", "))
		}
		for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
			fmt.Fprintf(w, "  label %s\t%s\t\n", name, e.Labels[name])
		}
		for _, name := range slices.Sorted(maps.Keys(e.Tags)) {
			fmt.Fprintf(w, "  tag %s\t%s\t\n", name, e.Tags[name])
		}
		printValues(w, e.Attributes)
		updates := "yes"
		if !e.Selected {
			updates = "no: rollout.select does not match"
		}
		fmt.Fprintf(w, "  updates\t%s\t\n", updates)
		fmt.Fprintf(w, "  recipe\t%s\t\n", e.Recipe)
		if e.Lacks != "" {
			fmt.Fprintf(w, "  package\tnone\t%s\n", e.Lacks)
		}
	}
	for _, p := range e.Plugins {
		var state []string
		if !p.Enabled {
			state = append(state, "kept out")
		}
		if p.Combine != fleet.CombineFirstPerParameter {
			state = append(state, "combine: "+string(p.Combine))
		}
		fmt.Fprintf(w, "%s\t%s\t\n", p.Name, strings.Join(state, ", "))
		printValues(w, p.Params)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	if len(root) > 0 {
		fmt.Fprintln(out, "acts as root, or may:")
	}
	for _, it := range root {
		if _, err := fmt.Fprintf(out, "  %s %s (%s, plugin %s)\n", it.Kind, it.Name, it.Why, it.Plugin); err != nil {
			return err
		}
	}
	return nil
}

func printValues(w io.Writer, values []rules.Explained) {
	for _, v := range values {
		from := v.Pos.String()
		if v.Default {
			from = strings.TrimSpace("default " + from)
		}
		if len(v.Merges) > 0 {
			from = fmt.Sprintf("%d rules, appended", len(v.Merges))
		}
		fmt.Fprintf(w, "  %s\t%s\t%s%s\n", v.Name, brief(v.Value), from, remark(v))
		for _, m := range v.Merges {
			fmt.Fprintf(w, "  \t%s\tpart: %s\n", brief(m.Value), m.Pos)
		}
		for _, b := range v.Beats {
			fmt.Fprintf(w, "  \t%s\tbeaten: %s\n", brief(b.Value), b.Pos)
		}
	}
}

// remark is what the rule that sets a value says of itself.
func remark(v rules.Explained) string {
	comment, _, _ := strings.Cut(strings.TrimSpace(v.Comment), "\n")
	comment = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1 // it goes to a terminal
		}
		return r
	}, comment)
	switch {
	case comment != "" && v.Owner != "":
		return "  # " + comment + " (" + v.Owner + ")"
	case comment != "":
		return "  # " + comment
	case v.Owner != "":
		return "  # " + v.Owner
	}
	return ""
}

// brief is a value on one line of bearable length.
func brief(v json.RawMessage) string {
	const most = 60
	s := octal(string(v))
	if s == `""` {
		return "none"
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

var fileMode = regexp.MustCompile(`"mode":([0-9]+)\b`)

// octal is JSON with the modes of files as people write them.
func octal(s string) string {
	return fileMode.ReplaceAllStringFunc(s, func(field string) string {
		n, err := strconv.ParseUint(fileMode.FindStringSubmatch(field)[1], 10, 16)
		if err != nil {
			return field
		}
		return fmt.Sprintf(`"mode":%O`, n)
	})
}
