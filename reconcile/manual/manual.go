package manual

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bakehouse/reconcile/settings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Write writes a page for root and each command below it to dir, and returns their names: bakehouse.1,
// bakehouse-store-gc.1.
func Write(dir string, root *cobra.Command) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var names []string
	for _, c := range documented(root) {
		name := pageName(c) + ".1"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page(c)), 0o644); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

// documented are c and the commands below it that users see.
func documented(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
			all = append(all, documented(sub)...)
		}
	}
	return all
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page is the manual page of one command. It has no date, so that the same program has the same pages.
func page(c *cobra.Command) string {
	var p Page
	p.Line(`.TH %s 1 "" "Bakehouse %s" "User Commands"`, Escape(strings.ToUpper(pageName(c))), Escape(c.Root().Version))
	p.Line(".SH NAME\n%s \\- %s", Escape(pageName(c)), Escape(strings.ToLower(c.Short[:1])+c.Short[1:]))
	p.Line(".SH SYNOPSIS\n.B %s", Escape(c.CommandPath()))
	if _, arguments, ok := strings.Cut(c.Use, " "); ok {
		p.Line("%s", Escape(arguments))
	}
	p.Line("[\\fIoption\\fR]...")
	p.Line(".SH DESCRIPTION")
	p.Text(cmp.Or(c.Long, c.Short))
	subs := documented(c)[1:]
	subs = slices.DeleteFunc(subs, func(s *cobra.Command) bool { return s.Parent() != c })
	if len(subs) > 0 {
		p.Line(".SH COMMANDS")
		for _, s := range subs {
			p.Line(".TP\n.B %s\n%s", Escape(s.CommandPath()), Escape(s.Short))
		}
	}
	more := func(f *pflag.Flag) string { return more(c, f) }
	for _, section := range []struct {
		title string
		flags *pflag.FlagSet
	}{{"OPTIONS", c.LocalFlags()}, {"OPTIONS OF ALL COMMANDS", c.InheritedFlags()}} {
		if section.flags.HasAvailableFlags() {
			p.Line(".SH %s", section.title)
			p.Flags(section.flags, more)
		}
	}
	if example := strings.Trim(c.Example, "\n"); example != "" {
		p.Line(".SH EXAMPLES")
		p.Text("  " + strings.TrimLeft(example, " "))
	}
	p.Line(".SH SEE ALSO")
	var others []string
	if c.HasParent() {
		others = append(others, pageName(c.Parent()))
	}
	for _, s := range subs {
		others = append(others, pageName(s))
	}
	for i, o := range others {
		comma := ","
		if i == len(others)-1 {
			comma = ""
		}
		p.Line(".BR %s (1)%s", Escape(o), comma)
	}
	return p.String()
}

// more is the default of a flag, and its variable if it has one.
func more(c *cobra.Command, f *pflag.Flag) string {
	var text []string
	if d := defaultOf(f); d != "" {
		text = append(text, fmt.Sprintf("The default is %s.", d))
	}
	if settings.ClassOf(f) != settings.Once {
		own, _ := settings.Variables(c, f)
		text = append(text, fmt.Sprintf("Setting: %s.", own))
	}
	return strings.Join(text, " ")
}

// defaultOf is a flag's default, empty if it says nothing, with ~ for the home of whoever runs the program.
func defaultOf(f *pflag.Flag) string {
	d := f.DefValue
	if slices.Contains([]string{"", "false", "0", "0s", "[]"}, d) {
		return ""
	}
	if home, err := os.UserHomeDir(); err == nil && home != string(filepath.Separator) {
		if rest, ok := strings.CutPrefix(d, home+string(filepath.Separator)); ok {
			return "~/" + filepath.ToSlash(rest)
		}
	}
	return d
}
