package command

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bakehouse/examples"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/program"
	"bakehouse/schema"
)

// A completer lists what a value can be.
type completer func(cmd *cobra.Command) []string

// completionTime is how long a user who pressed the tab key is kept waiting.
const completionTime = 3 * time.Second

// completers are by flag, of one command ("check --format") or of all ("--key"), and by command for its first argument.
var completers = map[string]completer{
	"access add --permission":    oneOf(schema.PermissionNames()...),
	"check --format":             oneOf("text", "json", "github", "gitlab"),
	"host add --format":          oneOf(formats()...),
	"init --example":             oneOf(examples.Names()...),
	"init --format":              oneOf(formats()...),
	"key create --type":          oneOf(keys.Types()...),
	"plan --format":              oneOf("text", "json", "markdown"),
	"reconcile --verify-commits": oneOf("head", "all"),
	"serve --log-format":         oneOf("text", "json"),
	"serve --log-level":          oneOf("debug", "info", "warn", "error"),
	"--key":                      keyNames,
	"--platform":                 oneOf(platforms()...),
	"--use":                      oneOf(keys.Uses...),

	"explain":        hostNames,
	"key export":     keyNames,
	"key passphrase": keyNames,
	"key retire":     keyNames,
	"key show":       keyNames,
	"package get":    hostNames,
	"package verify": hostNames,
	"plugin show":    pluginNames,
}

// directories are the flags, and the commands whose first argument is one.
var directories = []string{
	"--against", "--cache-dir", "--key-dir", "--programs", "--repo", "--source", "--store", "--tls-self-signed", "init",
	"man",
}

// A filler sets the flags of a command that are not given, as settings.Sources.Fill does.
type filler func(*cobra.Command) (taken []string, err error)

// Complete has shells complete the values of root's commands. What --repo is may be a setting, which fill knows; what
// it finds wrong is not for the moment when a key is pressed.
func Complete(root *cobra.Command, fill filler) {
	for _, cmd := range root.Commands() {
		path := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name := "--" + f.Name
			complete := completers[path+" "+name]
			if complete == nil {
				complete = completers[name]
			}
			switch {
			case complete != nil:
				_ = cmd.RegisterFlagCompletionFunc(f.Name, complete.values(fill)) // fails only if there is one already
			case slices.Contains(directories, name):
				_ = cmd.MarkFlagDirname(f.Name) // fails only if there is no such flag
			}
		})
		switch complete := completers[path]; {
		case complete != nil:
			first := complete.values(fill)
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return first(cmd, args, typed)
			}
		case slices.Contains(directories, path):
			cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
		case !strings.Contains(cmd.Use, "FILE"):
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		Complete(cmd, fill)
	}
}

// values is c for cobra. Of a list with commas, the last item is completed.
func (c completer) values(fill filler) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		_, _ = fill(cmd)
		before, last := "", typed
		if i := strings.LastIndexByte(typed, ','); i >= 0 {
			before, last = typed[:i+1], typed[i+1:]
		}
		var values []string
		for _, v := range c(cmd) {
			if strings.HasPrefix(v, last) {
				values = append(values, before+v)
			}
		}
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

func oneOf(values ...string) completer { return func(*cobra.Command) []string { return values } }

// keyNames are the keys of the work tree.
func keyNames(cmd *cobra.Command) []string {
	ctx, stop := context.WithTimeout(cmd.Context(), completionTime)
	defer stop()
	f, err := evaluate.LoadTop(ctx, os.DirFS(repoOf(cmd)))
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(f.Keys))
}

// hostNames are the hosts of the work tree, as far as it is evaluated in time.
func hostNames(cmd *cobra.Command) []string {
	ctx, stop := context.WithTimeout(cmd.Context(), completionTime)
	defer stop()
	r, err := evaluate.Load(ctx, os.DirFS(repoOf(cmd)), nil)
	if err != nil {
		return nil
	}
	var names []string
	for _, h := range r.Hosts {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	return names
}

// pluginNames are the plugins of the work tree and those that come with this program.
func pluginNames(cmd *cobra.Command) []string {
	names := evaluate.ShippedNames()
	entries, _ := os.ReadDir(filepath.Join(repoOf(cmd), "plugins")) // none: only the shipped ones
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(names, e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

func repoOf(cmd *cobra.Command) string {
	if f := cmd.Flag("repo"); f != nil {
		return f.Value.String()
	}
	return "."
}

// platforms are those that packages can be made for.
func platforms() []string {
	var all []string
	for _, p := range program.Known {
		all = append(all, p.String())
	}
	return all
}

func formats() []string {
	return []string{string(schema.Deb), string(schema.Rpm), string(schema.Tgz), string(schema.Pkg), string(schema.Msi)}
}
