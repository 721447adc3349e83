package settings

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A name is what can be set: a flag of one command, or of every command that has it.
type name struct {
	command string // "store gc"; empty: shared
	flag    string
}

func (n name) String() string {
	if n.command == "" {
		return n.flag
	}
	return n.command + ": " + n.flag
}

// variable is the name of n in the environment.
func (n name) variable() string {
	words := n.flag
	if n.command != "" {
		words = n.command + "_" + n.flag
	}
	return prefix + strings.ToUpper(strings.NewReplacer(" ", "_", "-", "_").Replace(words))
}

// Variables are the names of f's setting in the environment: of its command alone, and of all commands.
func Variables(cmd *cobra.Command, f *pflag.Flag) (own, shared string) {
	return name{pathOf(cmd), f.Name}.variable(), name{"", f.Name}.variable()
}

// namesOf are the names of a command's flag in the order in which they count: its own, those of the commands that it is
// below, the shared one.
func namesOf(cmd *cobra.Command, flag string) []name {
	var names []name
	for c := cmd; c.HasParent(); c = c.Parent() {
		names = append(names, name{pathOf(c), flag})
	}
	return append(names, name{"", flag})
}

// A tree has the flags of all commands of a program.
type tree struct {
	commands map[string]map[string]Class // by path and flag
	shared   map[string]Class            // by flag: the strictest of those that can be set
	having   map[string][]string         // by flag: the commands
}

// treeOf lists the flags below root. Commands that only hold others are left out.
func treeOf(root *cobra.Command) *tree {
	t := &tree{map[string]map[string]Class{}, map[string]Class{}, map[string][]string{}}
	Walk(root, func(c *cobra.Command, flags []*pflag.Flag) {
		path := pathOf(c)
		own := map[string]Class{}
		for _, f := range flags {
			class := ClassOf(f)
			own[f.Name] = class
			t.shared[f.Name] = max(t.shared[f.Name], class)
			t.having[f.Name] = append(t.having[f.Name], path)
		}
		if path != "" {
			t.commands[path] = own
		}
	})
	return t
}

// Walk calls do for root and each command below it that has flags, with those that this package is about, by name.
// Commands that only hold others and cobra's own are left out.
func Walk(root *cobra.Command, do func(c *cobra.Command, flags []*pflag.Flag)) {
	flags := map[string]*pflag.Flag{}
	note := func(f *pflag.Flag) {
		if !reserved(f.Name) {
			flags[f.Name] = f
		}
	}
	root.LocalFlags().VisitAll(note)
	if len(flags) > 0 || !root.HasSubCommands() {
		root.InheritedFlags().VisitAll(note)
		do(root, slices.SortedFunc(maps.Values(flags), byName))
	}
	for _, c := range root.Commands() {
		if root.HasParent() || !isCobras(c) {
			Walk(c, do)
		}
	}
}

func byName(a, b *pflag.Flag) int { return cmp.Compare(a.Name, b.Name) }

// isCobras reports whether cobra itself adds c to a program.
func isCobras(c *cobra.Command) bool {
	return c.Name() == "help" || c.Name() == "completion" || strings.HasPrefix(c.Name(), "__")
}

// reserved reports whether a flag has no setting because it says where settings are, or is no option of a command.
func reserved(flag string) bool { return flag == "help" || flag == "version" || flag == "config" }

// pathOf is a command's path without the program: "store gc".
func pathOf(cmd *cobra.Command) string {
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	return path
}

func (t *tree) class(n name) Class {
	if n.command == "" {
		return t.shared[n.flag]
	}
	return t.commands[n.command][n.flag]
}

// onceOnly describes the mistake of setting what only a command line may say.
func (t *tree) onceOnly(n name) (hint string, what error) {
	command := n.command
	if command == "" {
		command = t.having[n.flag][0]
	}
	return fmt.Sprintf("give it on the command line: bakehouse %s --%s", command, n.flag),
		fmt.Errorf("--%s is for one run and cannot be a setting", n.flag)
}
