// Package cli is what the command lines of both programs have in common: a mistake on the command line becomes an error
// that says what is wanted and what was probably meant, and every error is printed in one form. The commands themselves
// belong to the programs.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Instead is the prefix of a command's annotations that say which verb does what a flag of that name would be expected
// to do.
const Instead = "instead of --"

// ExplainMistakes makes unknown commands and flags, wrong values and wrong arguments errors with a hint, on root and
// every command below it. A command that only groups others prints its help if it is called without one.
func ExplainMistakes(root *cobra.Command) {
	root.SetFlagErrorFunc(explainFlag)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		wrapFlags(cmd.LocalFlags())
		wrapFlags(cmd.InheritedFlags())
		help(cmd, args)
	})
	explainHelp(root)
	walk(root, func(cmd *cobra.Command) {
		if check := cmd.Args; check != nil && cmd.Runnable() {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				err := check(cmd, args)
				if fault.HintOf(err) != "" {
					return err
				}
				if err != nil && strings.HasPrefix(err.Error(), "unknown command") { // of cobra.NoArgs
					err = fmt.Errorf("unexpected argument %.80q: `%s` takes none", args[0], cmd.CommandPath())
				}
				if err != nil && strings.HasPrefix(err.Error(), "accepts ") { // of cobra.ExactArgs and its kin
					usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
					err = fmt.Errorf("%d arguments: want `%s`", len(args), usage)
				}
				return fault.Hint(err, "%s", seeHelp(cmd))
			}
		}
		if !cmd.Runnable() {
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = group
		}
	})
}

// explainHelp makes `help` of an unknown command the mistake that the command itself is. cobra makes that command, and
// adds it when root is executed.
func explainHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		root.RemoveCommand(help)
		help.Run, help.RunE = nil, func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				return group(of, rest)
			}
			if err == nil {
				of.InitDefaultHelpFlag()
				err = of.Help()
			}
			return err
		}
	}
}

func walk(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, do)
	}
}

func seeHelp(cmd *cobra.Command) string { return "see `" + cmd.CommandPath() + " --help`" }

// group is a command that does nothing itself.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	hint := seeHelp(cmd)
	if near := Nearest(args[0], names); near != "" {
		hint = "did you mean `" + cmd.CommandPath() + " " + near + "`?"
	}
	return fault.Hint(fmt.Errorf("unknown command %.80q for `%s`", args[0], cmd.CommandPath()), "%s", hint)
}

func explainFlag(cmd *cobra.Command, err error) error {
	hint := seeHelp(cmd)
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var lacking *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		err = fmt.Errorf("unknown flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := Nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = "did you mean --" + near + "?"
		}
		if verb := cmd.Annotations[Instead+unknown.GetSpecifiedName()]; verb != "" {
			hint = "use `" + verb + "`"
		}
		err = fmt.Errorf("unknown flag --%.80s", unknown.GetSpecifiedName())
	case errors.As(err, &lacking):
		err = fmt.Errorf("--%s needs a value", lacking.GetFlag().Name)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		err = fmt.Errorf("invalid value %.80q for --%s: %s", invalid.GetValue(), f.Name, Wanted(f, invalid.Unwrap()))
	}
	return fault.Hint(err, "%s", hint)
}

// Wanted says what a flag takes, rather than what the parser of its type met.
func Wanted(f *pflag.Flag, cause error) string {
	switch t := f.Value.Type(); {
	case t == "bool":
		return "want true or false"
	case t == "duration":
		return "want a duration such as 90s, 10m or 1h"
	case strings.HasPrefix(t, "int"):
		return "want an integer"
	case strings.HasPrefix(t, "uint"):
		return "want a positive integer"
	}
	return cause.Error()
}

// Nearest is the known word that a mistyped one was probably meant for; empty if none is near: at most a third of its
// letters are missing, changed or too many, or it is the start of only one.
func Nearest(word string, known []string) string {
	if len(word) > 100 { // no name is as long, and the time grows with it
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", max(1, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(word, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best != "" || word == "" {
		return best
	}
	begin := slices.DeleteFunc(slices.Clone(known),
		func(k string) bool { return !strings.HasPrefix(strings.ToLower(k), word) })
	if len(begin) == 1 {
		return begin[0]
	}
	return ""
}

// Typo reports whether word is most likely known, misspelt: one letter is wrong, or two of a word of more than six.
func Typo(word, known string) bool {
	most := 1
	if len(known) > 6 {
		most = 2
	}
	return len(word) <= 100 && distance(strings.ToLower(word), strings.ToLower(known)) <= most
}

// distance is how many letters must be added, dropped, changed or swapped with their neighbour to make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)} // two before, before, this one
	for j := range rows[2] {
		rows[2][j] = j
	}
	for i := 1; i <= len(a); i++ {
		rows[0], rows[1], rows[2] = rows[1], rows[2], rows[0]
		rows[2][0] = i
		for j := 1; j <= len(b); j++ {
			change := rows[1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[2][j] = min(rows[1][j]+1, rows[2][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[2][j] = min(rows[2][j], rows[0][j-2]+1)
			}
		}
	}
	return rows[2][len(b)]
}

// AtMostOne is an error if more than one of the named flags was given.
func AtMostOne(cmd *cobra.Command, names ...string) error {
	var given []string
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) < 2 {
		return nil
	}
	return fault.Hint(fmt.Errorf("%s exclude one another", strings.Join(given, " and ")), "set one of them")
}

// Report prints the error that a command ended with on its standard error: "PROGRAM: error: …" and, if there is one,
// "PROGRAM: hint: …"; under --json, one JSON object instead (schema.Problem). args is the command line, which says
// --json also if it could not be parsed up to there.
func Report(cmd *cobra.Command, args []string, err error) {
	w, hint := cmd.ErrOrStderr(), fault.HintOf(err)
	if f := cmd.Flags().Lookup("json"); f != nil && (f.Value.String() == "true" || slices.Contains(args, "--json")) {
		_ = json.NewEncoder(w).Encode(schema.Problem{Error: err.Error(), Hint: hint})
		return
	}
	program := cmd.Root().Name()
	fmt.Fprintf(w, "%s: error: %v\n", program, err)
	if hint != "" {
		fmt.Fprintf(w, "%s: hint: %s\n", program, hint)
	}
}

// helpWidth is how many columns a flag's line of help may have.
const helpWidth = 110

// wrapFlags breaks what flags say of themselves into lines, which pflag aligns. A template that calls FlagUsagesWrapped
// would link text/template into the host program, and with it every exported method: 1.7 MB.
func wrapFlags(flags *pflag.FlagSet) {
	indent := 0
	flags.VisitAll(func(f *pflag.Flag) {
		name, _ := pflag.UnquoteUsage(f)
		n := len("      --") + len(f.Name) + len(" ") + len(name) + len("   ")
		if f.NoOptDefVal != "" && f.Value.Type() == "string" {
			n += len(`[=""]`) + len(f.NoOptDefVal)
		}
		indent = max(indent, n)
	})
	flags.VisitAll(func(f *pflag.Flag) {
		width, defaults := helpWidth-indent, 0
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
			defaults = len(` (default "")`) + len(f.DefValue)
		}
		var b strings.Builder
		column := 0
		for _, word := range strings.Fields(f.Usage) {
			switch n := len([]rune(word)); {
			case column == 0:
				column = n
			case column+1+n > width:
				b.WriteByte('\n')
				column = n
			default:
				b.WriteByte(' ')
				column += 1 + n
			}
			b.WriteString(word)
		}
		if column+defaults > width {
			b.WriteByte('\n')
		}
		f.Usage = b.String()
	})
}
