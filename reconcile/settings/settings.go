// Package settings fills the flags that a command line leaves out, once per run and before anything else happens: flag,
// then environment, then settings file, then default.
//
// In the file (bakehouse.yaml) a key at the top is a flag of every command that has one of that name, and "commands"
// lists what is for one command only, which is the stronger of the two:
//
//	store: /srv/bakehouse
//	commands:
//	  store gc: {keep: 30}
//
// In the environment these are BAKEHOUSE_STORE and BAKEHOUSE_STORE_GC_KEEP. A variable that is empty counts as unset. A
// command below another one inherits what is for that: whoever has reconcile verify commits means recover, too.
//
// Each flag has a class. What decides trust (Trust) is never taken from a file that a change under review could bring
// along, and what acknowledges one run (Once, as every flag that is not declared otherwise) is given to that run alone.
package settings

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"bakehouse/schema/cli"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A Class is where a flag's value may come from.
type Class int

const (
	Once   Class = iota // the command line alone
	Plain               // also the environment and any settings file
	Trusts              // also the environment and a settings file outside of the repository under review
)

func (c Class) String() string {
	return [...]string{"command line only", "setting", "trusted setting"}[c]
}

// annotation marks a flag with its class.
const annotation = "bakehouse/settings"

var byAnnotation = map[string]Class{"setting": Plain, "trust": Trusts}

// ClassOf is the class that f was declared with.
func ClassOf(f *pflag.Flag) Class {
	if a := f.Annotations[annotation]; len(a) == 1 {
		return byAnnotation[a[0]]
	}
	return Once
}

// Setting declares flags that may also be set in the environment and in any settings file.
func Setting(flags *pflag.FlagSet, names ...string) { declare(flags, "setting", names) }

// Trust declares flags that decide what is trusted, run, read as a secret, overwritten, deleted or open to the network.
// A settings file that lies in the repository under review may not set them.
func Trust(flags *pflag.FlagSet, names ...string) { declare(flags, "trust", names) }

// declare panics on a name that is no flag: that is a mistake in the program, which every start of it shows.
func declare(flags *pflag.FlagSet, class string, names []string) {
	for _, name := range names {
		if err := flags.SetAnnotation(name, annotation, []string{class}); err != nil {
			panic(err)
		}
	}
}

// Sources are where settings come from.
type Sources struct {
	Environ []string // as os.Environ has it

	// Outside refuses a file that the repository around dir could supply. It returns nil if there is no repository.
	Outside func(dir, file string) error

	// Unread is told of variables that look like settings and that nobody reads. It may be nil.
	Unread func(variables []string)
}

// Fill sets the flags of cmd, which is parsed, that were not given, and tells of each what it was set to and where.
// Whatever is wrong in the file or the environment is an error, for whichever command it is meant, but to a command
// that only groups others.
func (s Sources) Fill(cmd *cobra.Command) (taken []string, err error) {
	t := treeOf(cmd.Root())
	if _, ok := t.commands[pathOf(cmd)]; !ok {
		return nil, nil
	}
	env, unread, err := t.environment(s.Environ)
	if err != nil {
		return nil, err
	}
	if len(unread) > 0 && s.Unread != nil {
		s.Unread(unread)
	}
	path, err := fileOf(cmd, s.Environ)
	if err != nil {
		return nil, err
	}
	var file found
	if path != "" {
		list, err := t.read(path)
		if err != nil {
			return nil, err
		}
		if err := s.guard(t, cmd, path, list, env); err != nil {
			return nil, err
		}
		file = list.byName()
	}
	given := map[string]bool{}
	cmd.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = true })
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || reserved(f.Name) || ClassOf(f) == Once || excluded(f, given) || err != nil {
			return
		}
		for _, from := range []found{env, file} {
			if e, ok := from.first(namesOf(cmd, f.Name)); ok {
				err = fault.Hint(e.set(cmd.Flags(), f), "see `%s --help`", cmd.CommandPath())
				taken = append(taken, fmt.Sprintf("--%s=%s from %s", f.Name, shown(f.Value.String()), e.at))
				return
			}
		}
	})
	return taken, err
}

// shown is a value without the password that a URL may have.
func shown(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" {
		if strings.Contains(value, "://") {
			return "(a URL)"
		}
		return value
	}
	if q := u.Query(); q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
		return u.Redacted()
	}
	if _, has := u.User.Password(); has {
		return u.Redacted()
	}
	return value
}

// excluded reports whether the command line has a flag that f cannot be used with: then a setting of f gives way.
func excluded(f *pflag.Flag, given map[string]bool) bool {
	const groups = "cobra_annotation_mutually_exclusive" // of cobra's MarkFlagsMutuallyExclusive
	return slices.ContainsFunc(f.Annotations[groups], func(group string) bool {
		return slices.ContainsFunc(strings.Fields(group), func(name string) bool { return given[name] })
	})
}

// guard refuses a file that sets what decides trust and that the repository under review could supply. Which repository
// that is may not be for the file to say, so it is the one of the command line, the environment or the working
// directory; where the file names another, that one must not supply the file either.
func (s Sources) guard(t *tree, cmd *cobra.Command, path string, list entries, env found) error {
	i := slices.IndexFunc(list, func(e entry) bool { return t.class(e.name) == Trusts })
	if i < 0 {
		return nil
	}
	dirs := []string{"."}
	if repo := cmd.Flags().Lookup("repo"); repo != nil {
		dirs[0] = repo.Value.String()
		names := namesOf(cmd, "repo")
		if e, ok := env.first(names); ok && !repo.Changed {
			dirs[0] = e.values[0]
		}
		if e, ok := list.byName().first(names); ok {
			dirs = append(dirs, e.values...)
		}
	}
	for _, dir := range dirs {
		if err := s.Outside(dir, path); err != nil && !fault.IsRefusal(err) {
			return fmt.Errorf("%s: whether the repository could supply this file: %w", path, err)
		} else if err != nil {
			return fault.Refuse(fmt.Errorf("%s: %s cannot be set here: %w", list[i].at, list[i].name, err),
				"it decides what is trusted: set it in a file outside of the repository, "+
					"which --config FILE or BAKEHOUSE_CONFIG names")
		}
	}
	return nil
}

// An entry is one setting: where it is and what it says.
type entry struct {
	name
	at     string   // "bakehouse.yaml:3:5" or the variable
	values []string // one, unless it is a list
	list   bool
	text   bool // as a command line has it, with commas between items
}

type entries []entry

// found are settings by name.
type found map[name]entry

func (l entries) byName() found {
	m := found{}
	for _, e := range l {
		m[e.name] = e
	}
	return m
}

// first is the setting of the first of names that has one.
func (f found) first(names []name) (entry, bool) {
	for _, n := range names {
		if e, ok := f[n]; ok {
			return e, true
		}
	}
	return entry{}, false
}

// set gives f the value of e. An item in a file is taken as it is: a comma in one does not make it two.
func (e entry) set(flags *pflag.FlagSet, f *pflag.Flag) error {
	if slice, ok := f.Value.(pflag.SliceValue); ok && !e.text {
		if err := slice.Replace(e.values); err != nil {
			return fmt.Errorf("%s: %s: %w", e.at, e.name, err)
		}
		f.Changed = true
		return nil
	}
	if e.list {
		return fmt.Errorf("%s: %s takes one value, not a list", e.at, e.name)
	}
	err := flags.Set(f.Name, e.values[0])
	if err == nil {
		return nil
	}
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		err = errors.New(cli.Wanted(f, invalid.Unwrap()))
	}
	return fmt.Errorf("%s: invalid value %.80q for %s: %w", e.at, e.values[0], f.Name, err)
}
