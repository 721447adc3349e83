// Command bakehouse is the operator's side of Bakehouse: it checks a fleet repository, bakes and signs what changed
// into a store, and serves that store to hosts. The packages below offer the commands; this file joins them and fills
// their flags from the settings: flag, then BAKEHOUSE_* environment, then bakehouse.yaml, then default.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"bakehouse/examples/demo"
	"bakehouse/reconcile"
	"bakehouse/reconcile/command"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/program"
	"bakehouse/schema/cli"
	"bakehouse/schema/fault"
	"bakehouse/serve"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// version is set by -ldflags "-X main.version=…" in releases.
var version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	code := run(keys.TakePassphrases(ctx), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && ctx.Err() != nil && fault.HintOf(err) == "" {
		err = fault.Hint(err, "run it again: nothing was left half done")
	}
	if err != nil && !errors.Is(err, fault.ErrChanges) {
		cli.Report(cmd, args, err)
	}
	return fault.ExitCode(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bakehouse",
		Short: "An open GitOps bakery for monitoring agents",
		Long: `Bakehouse bakes, signs and delivers monitoring agents from a git repository.

A fleet is described in CUE files: hosts, rules, plugins, keys. "reconcile" bakes and signs whatever a commit
changed into a content-addressed store, "serve" hands it out, and bakehouse-agent on each host verifies a package
before it installs it. Try it on this machine: bakehouse demo

Settings: every flag can also stand in bakehouse.yaml (a section per command: "serve: {listen: …}") or in the
environment (BAKEHOUSE_SERVE_LISTEN). A name that several commands share, such as store, may stand at the top
(BAKEHOUSE_STORE). A flag beats the environment, which beats the file.

Exit codes: 0 done, 1 error, 2 changes pending (only with --detailed-exitcode), 3 something did not verify.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().String("config", "", "settings file (default bakehouse.yaml if there is one)")
	root.AddCommand(
		reconcile.InitCommand(), reconcile.CheckCommand(), reconcile.ExplainCommand(),
		reconcile.PlanCommand(version), reconcile.Command(version), reconcile.PackageCommand(), reconcile.ReproduceCommand(), reconcile.PluginCommand(),
		program.UpgradeCommand(version), command.KeyCommand(reconcile.RetireCommand()), command.RootCommand(),
		serve.Command(), serve.AccessCommand(), store.Command(reconcile.GCCommand()), demo.Command(),
	)
	cli.ExplainMistakes(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return settle(root, cmd) }
	return root
}

// settle fills the flags of cmd that were not given from the environment and the settings file.
func settle(root, cmd *cobra.Command) error {
	v := viper.New()
	if err := readSettings(v, root, cmd); err != nil {
		return err
	}
	v.SetEnvPrefix("BAKEHOUSE")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_", "-", "_"))
	v.AutomaticEnv()
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "version" || f.Name == "config" {
			return
		}
		for _, key := range []string{section(cmd) + f.Name, f.Name} {
			if _, isSection := v.Get(key).(map[string]any); isSection || !v.IsSet(key) {
				continue // a command may be called as another's flag is: plan, store
			}
			if err := cmd.Flags().Set(f.Name, text(v.Get(key))); err != nil && failed == nil {
				failed = fault.Hint(fmt.Errorf("setting %s: %w", key, err), "see `%s --help`", cmd.CommandPath())
			}
			return
		}
	})
	return failed
}

// text is a setting as a flag would be given; a list becomes the comma-separated form.
func text(v any) string {
	if list, ok := v.([]any); ok {
		words := make([]string, len(list))
		for i, w := range list {
			words[i] = fmt.Sprint(w)
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(v)
}

func readSettings(v *viper.Viper, root, cmd *cobra.Command) error {
	file, _ := cmd.Flags().GetString("config")
	if file == "" {
		file = os.Getenv("BAKEHOUSE_CONFIG")
	}
	required := file != ""
	if !required {
		file = "bakehouse.yaml"
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !required {
		return nil
	}
	v.SetConfigFile(file)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		return fault.Hint(fmt.Errorf("settings: %w", err), "mend %s or name another with --config FILE", file)
	}
	if f := cmd.Flag("config"); f != nil { // a command may care where its settings stood
		if err := f.Value.Set(file); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[section(c)+f.Name], known[f.Name] = true, true })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for _, key := range v.AllKeys() {
		if !known[key] {
			return fault.Hint(fmt.Errorf("settings: %s: unknown setting %q", file, key),
				"%s", nearest(key, slices.Sorted(maps.Keys(known))))
		}
	}
	return nil
}

// section is the prefix of a command's settings: "serve." for `bakehouse serve`.
func section(cmd *cobra.Command) string {
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	if path == "" {
		return ""
	}
	return strings.ReplaceAll(path, " ", ".") + "."
}

// nearest names the settings that share the key's last word, or all the sections if none does.
func nearest(key string, known []string) string {
	word := key[strings.LastIndexByte(key, '.')+1:]
	var near []string
	for _, k := range known {
		if last := k[strings.LastIndexByte(k, '.')+1:]; strings.HasPrefix(last, word[:1]) && strings.Contains(k, ".") {
			near = append(near, k)
		}
	}
	if len(near) == 0 {
		return "settings are the flags of the commands: see `bakehouse COMMAND --help`"
	}
	return "did you mean one of " + strings.Join(near, ", ") + "?"
}
