package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// program is a small program with a flag of each kind, and what became of its flags.
type program struct {
	root     *cobra.Command
	ran      *cobra.Command
	inside   string // the directory that counts as a repository
	environ  []string
	taken    []string
	asked    []string // directories whose repository was asked for
	listen   string
	watch    time.Duration
	jobs     int
	quiet    bool
	programs []string
}

func newProgram() *program {
	p := &program{root: &cobra.Command{Use: "bakehouse", SilenceErrors: true, SilenceUsage: true}}
	p.root.PersistentFlags().String("config", "", "")
	p.root.PersistentFlags().BoolVar(&p.quiet, "quiet", false, "")
	Setting(p.root.PersistentFlags(), "quiet")
	command := func(use string) *cobra.Command {
		return &cobra.Command{Use: use, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			p.ran = cmd
			return nil
		}}
	}
	serve := command("serve")
	serve.Flags().StringVar(&p.listen, "listen", ":1", "")
	serve.Flags().DurationVar(&p.watch, "watch", time.Second, "")
	serve.Flags().String("store", "store", "")
	Setting(serve.Flags(), "listen", "watch")
	Trust(serve.Flags(), "store")
	reconcile := command("reconcile")
	reconcile.Flags().String("repo", ".", "")
	reconcile.Flags().String("store", "store", "")
	reconcile.Flags().StringSliceVar(&p.programs, "kms-plugin", nil, "")
	reconcile.Flags().IntVar(&p.jobs, "jobs", 0, "")
	reconcile.Flags().Bool("after-expiry", false, "")
	reconcile.Flags().String("plan", "", "")
	Setting(reconcile.Flags(), "jobs")
	Trust(reconcile.Flags(), "repo", "store", "kms-plugin")
	recovery := command("recover")
	recovery.Flags().String("store", "store", "")
	Trust(recovery.Flags(), "store")
	reconcile.AddCommand(recovery)
	store := &cobra.Command{Use: "store"}
	gc := command("gc")
	gc.Flags().Int("keep", 0, "")
	gc.Flags().String("store", "store", "")
	Setting(gc.Flags(), "keep")
	Trust(gc.Flags(), "store")
	store.AddCommand(gc)
	demo := command("demo")
	demo.Flags().Bool("keep", false, "")
	p.root.AddCommand(serve, reconcile, store, command("plan"), demo)
	p.root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		p.taken, err = Sources{Environ: p.environ, Outside: p.outside}.Fill(cmd)
		return err
	}
	return p
}

func (p *program) outside(dir, file string) error {
	p.asked = append(p.asked, dir)
	if dir == p.inside {
		return fault.Refuse(errors.New("it is in the repository"), "")
	}
	return nil
}

func (p *program) run(args ...string) error {
	p.root.SetArgs(args)
	return p.root.Execute()
}

// flag is what a flag of the command that ran became.
func (p *program) flag(name string) string { return p.ran.Flag(name).Value.String() }

// inDir makes t run in an empty directory with the settings file, if any.
func inDir(t *testing.T, file string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if file != "" {
		write(t, defaultFile, file)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFlagBeatsTheEnvironmentWhichBeatsTheFileWhichBeatsTheDefault(t *testing.T) {
	const shared, own = "store: shared-file\n", "commands:\n  store gc: {store: own-file}\n"
	for name, c := range map[string]struct {
		args, environ []string
		file, want    string
	}{
		"nothing set":                   {want: "store"},
		"shared in the file":            {file: shared, want: "shared-file"},
		"own in the file":               {file: own, want: "own-file"},
		"own before shared in the file": {file: shared + own, want: "own-file"},
		"shared in the environment": {
			file: shared + own, environ: []string{"BAKEHOUSE_STORE=shared-env"}, want: "shared-env",
		},
		"another command's": {
			file: "commands: {serve: {store: other}}", environ: []string{"BAKEHOUSE_SERVE_STORE=other"}, want: "store",
		},
		"an empty variable counts as unset": {
			file: own, environ: []string{"BAKEHOUSE_STORE_GC_STORE="}, want: "own-file",
		},
		"an empty value in the file is one": {file: `store: ""`, want: ""},
		"own in the environment": {
			environ: []string{"BAKEHOUSE_STORE_GC_STORE=own-env", "BAKEHOUSE_STORE=shared-env"}, want: "own-env",
		},
		"the command line": {
			args: []string{"--store", "flag"}, file: shared + own,
			environ: []string{"BAKEHOUSE_STORE=e", "BAKEHOUSE_STORE_GC_STORE=e"}, want: "flag",
		},
		"a text that looks like another one": {file: "store: 0x1F", want: "0x1F"},
	} {
		t.Run(name, func(t *testing.T) {
			inDir(t, c.file)
			p := newProgram()
			p.environ = c.environ
			if err := p.run(append([]string{"store", "gc"}, c.args...)...); err != nil {
				t.Fatal(err)
			}
			if got := p.flag("store"); got != c.want {
				t.Errorf("store = %q, want %q", got, c.want)
			}
		})
	}
}

func TestACommandInheritsWhatIsForTheCommandAboveIt(t *testing.T) {
	inDir(t, "store: shared\ncommands: {reconcile: {store: above}}")
	p := newProgram()
	if err := p.run("reconcile", "recover"); err != nil || p.flag("store") != "above" {
		t.Errorf("store = %q, %v", p.flag("store"), err)
	}
	write(t, defaultFile, "commands: {reconcile: {store: above}, reconcile recover: {store: own}}")
	if err := p.run("reconcile", "recover"); err != nil || p.flag("store") != "above" {
		t.Errorf("a flag that is set stays: %q, %v", p.flag("store"), err)
	}
	p = newProgram()
	if err := p.run("reconcile", "recover"); err != nil || p.flag("store") != "own" {
		t.Errorf("store = %q, %v", p.flag("store"), err)
	}
	p = newProgram()
	p.environ = []string{"BAKEHOUSE_RECONCILE_STORE=above-env"}
	if err := p.run("reconcile", "recover"); err != nil || p.flag("store") != "above-env" {
		t.Errorf("store = %q, %v", p.flag("store"), err)
	}
}

func TestTheSettingsFileIsTheFlagsThenTheEnvironmentsThenTheOneInTheWorkingDirectory(t *testing.T) {
	inDir(t, "store: default")
	write(t, "flag.yaml", "store: flag")
	write(t, "env.yaml", "store: env")
	for _, c := range []struct {
		args, environ []string
		want          string
	}{
		{nil, nil, "default"},
		{nil, []string{"BAKEHOUSE_CONFIG=env.yaml"}, "env"},
		{[]string{"--config", "flag.yaml"}, []string{"BAKEHOUSE_CONFIG=env.yaml"}, "flag"},
		{[]string{"--config", os.DevNull}, nil, "store"},
	} {
		p := newProgram()
		p.environ = c.environ
		if err := p.run(append([]string{"serve"}, c.args...)...); err != nil {
			t.Fatal(err)
		}
		if got := p.flag("store"); got != c.want {
			t.Errorf("%v %v: store = %q, want %q", c.args, c.environ, got, c.want)
		}
	}
	err := newProgram().run("serve", "--config", "none.yaml")
	if !errors.Is(err, os.ErrNotExist) || fault.HintOf(err) == "" {
		t.Errorf("a file that was asked for and is not there: %v", err)
	}
}

func TestValuesBecomeWhatTheirFlagsTake(t *testing.T) {
	inDir(t, `
quiet: true
commands:
  serve: {listen: "[::1]:8443", watch: 1m}
  reconcile:
    jobs: 3
    kms-plugin: ["a=/opt/with,comma", b=/opt/b]
`)
	p := newProgram()
	if err := p.run("serve"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"--listen=[::1]:8443 from bakehouse.yaml:4:19", "--quiet=true from bakehouse.yaml:2:8",
		"--watch=1m0s from bakehouse.yaml:4:40"}; !slices.Equal(p.taken, want) {
		t.Errorf("taken %q, want %q", p.taken, want)
	}
	if p.listen != "[::1]:8443" || p.watch != time.Minute || !p.quiet {
		t.Errorf("listen %q, watch %v, quiet %v", p.listen, p.watch, p.quiet)
	}
	p = newProgram()
	if err := p.run("reconcile"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a=/opt/with,comma", "b=/opt/b"}; !slices.Equal(p.programs, want) || p.jobs != 3 {
		t.Errorf("kms-plugin %q, jobs %d", p.programs, p.jobs)
	}
	if !p.ran.Flags().Changed("kms-plugin") || p.ran.Flags().Changed("store") {
		t.Error("a flag counts as given if and only if it was set")
	}
	for file, want := range map[string][]string{"kms-plugin: a=/one,two": {"a=/one,two"}, "kms-plugin: []": {}} {
		write(t, defaultFile, file)
		p = newProgram()
		if err := p.run("reconcile"); err != nil || !slices.Equal(p.programs, want) {
			t.Errorf("%s: %q, %v", file, p.programs, err)
		}
	}
	p = newProgram()
	p.environ = []string{"BAKEHOUSE_KMS_PLUGIN=a=/a,b=/b"}
	if err := p.run("reconcile"); err != nil || !slices.Equal(p.programs, []string{"a=/a", "b=/b"}) {
		t.Errorf("from the environment: %q, %v", p.programs, err)
	}
	p = newProgram()
	if err := p.run("reconcile", "--kms-plugin", "c=/c"); err != nil || !slices.Equal(p.programs, []string{"c=/c"}) {
		t.Errorf("a flag does not add to a setting: %q, %v", p.programs, err)
	}
}

func TestWhatIsWrongInTheFileIsNamedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ file, want, hint string }{
		"an unknown setting": {"\nstor: x", `:2:1: unknown setting "stor"`, "did you mean store?"},
		"an unknown setting of a command": {
			"commands:\n  serve: {lisen: x}", `:2:11: serve has no setting "lisen"`, "did you mean listen?",
		},
		"a setting of another command": {
			"commands: {serve: {keep: 3}}", `:1:20: serve has no setting "keep"`, "it belongs to: demo, store gc",
		},
		"an unknown command": {
			"commands: {sevre: {listen: x}}", `:1:12: unknown command "sevre"`, "did you mean serve?",
		},
		"a command that only holds others": {
			"commands: {store: {keep: 3}}", `:1:12: unknown command "store"`, "these below it do: store gc",
		},
		"a command at the top": {
			"serve: x", `:1:1: unknown setting "serve"`, `list its settings under "commands"`,
		},
		"nothing like any": {
			"zzzzzzz: 1", `:1:1: unknown setting "zzzzzzz"`, "settings are the flags of the commands",
		},
		"an empty key": {`"": x`, `:1:1: unknown setting ""`, ""},
		"another case": {"Store: x", `:1:1: unknown setting "Store"`, "did you mean store?"},
		"an acknowledgement": {
			"after-expiry: true", ":1:1: --after-expiry is for one run", "bakehouse reconcile --after-expiry",
		},
		"an acknowledgement of a command": {
			"commands: {reconcile: {plan: x}}", ":1:24: --plan is for one run", "bakehouse reconcile --plan",
		},
		"the settings file": {"config: x", `:1:1: unknown setting "config"`, ""},
		"the help":          {"help: true", `:1:1: unknown setting "help"`, ""},
		"not a number": {
			"jobs: many", `:1:7: invalid value "many" for jobs: want an integer`, "bakehouse reconcile --help",
		},
		"a fraction":        {"jobs: 1.5", `:1:7: invalid value "1.5" for jobs: want an integer`, ""},
		"not true or false": {"quiet: yes", `:1:8: invalid value "yes" for quiet: want true or false`, ""},
		"null":              {"store: ~", ":1:8: store: want a value, not null", "or delete the line"},
		"no value": {
			"store:\nquiet: true", ":1:7: store: want a value, not null", "or delete the line",
		},
		"null in a list":       {"kms-plugin: [a=/a, ~]", ":1:20: kms-plugin: want a value, not null", ""},
		"a list for one value": {"store: [a, b]", ":1:8: store takes one value, not a list", ""},
		"a list in a list": {
			"kms-plugin: [[a=/a]]", ":1:14: kms-plugin: want a value, not a list", "",
		},
		"a mapping for a value": {"jobs: {a: 1}", ":1:7: jobs: want a value, not a mapping", ""},
		"a mapping in a list": {
			"kms-plugin: [a: b]", ":1:14: kms-plugin: want a value, not a mapping", "",
		},
		"a list at the top":          {"- store: x", ":1:1: settings: want a mapping, not a list", ""},
		"a text at the top":          {"store", `:1:1: settings: want a mapping, not "store"`, ""},
		"a list of commands":         {"commands: [serve]", ":1:11: commands: want a mapping, not a list", ""},
		"a command without settings": {"commands: {serve: }", ":1:19: serve: want a mapping, not null", ""},
		"a key twice": {
			"store: a\nquiet: true\nstore: b", `:3:1: settings: "store" is set again, after line 1`,
			"leave one of them out",
		},
		"a command twice": {
			"commands:\n  serve: {}\n  serve: {}", `:3:3: commands: "serve" is set again, after line 2`, "",
		},
		"a key that is a list": {"[a]: b", ":1:1: settings: a list is not a name", ""},
		"a key that is null":   {"~: b", ":1:1: settings: null is not a name", ""},
		"a merge":              {"<<: {store: x}", `:1:1: settings: "<<" is not a name`, ""},
		"an anchor":            {"store: &s x", ":1:8: anchors and aliases are not supported", ""},
		"an alias": {
			"store: &s x\nlisten: *s", ":1:8: anchors and aliases are not supported", "",
		},
		"an anchor on a key":      {"&s store: x", ":1:1: anchors and aliases are not supported", ""},
		"an anchor on everything": {"&s\nstore: x", "anchors and aliases are not supported", ""},
		"a tag":                   {"store: !!str x", `:1:8: the tag "!!str" is not supported`, ""},
		"an own tag":              {"store: !secret x", `:1:8: the tag "!secret" is not supported`, ""},
		"what is no YAML": {
			"store: x\nserve: {listen\n", ":2: did not find expected", "correct the YAML from there on",
		},
		"what is no YAML in its first line": {"store: 'x", ":1: found unexpected end of stream", ""},
		"a tab": {
			"commands:\n\tserve: {}", ":2: found character that cannot start any token", "",
		},
		"a second document":        {"store: x\n---\nstore: y", ":2:1: a second document", ""},
		"a broken second document": {"store: x\n---\n{", ":3: did not find expected", ""},
		"Latin-1":                  {"# caf\xe9\nstore: x", ":1:6: the byte 0xe9 is no text", "UTF-8"},
		"UTF-16":                   {"\xff\xfes\x00", ":1:1: the byte 0xff is no text", "UTF-8"},
		"a control character":      {"quiet: true\nstore: a\x00b", ":2:9: the byte 0x00 is no text", ""},
		"too large":                {strings.Repeat("#\n", maxSize), " is larger than 64 KiB", ""},
		"too deep":                 {strings.Repeat("[", 20000), ":1: exceeded max depth", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inDir(t, c.file)
			p := newProgram()
			err := p.run("reconcile")
			if err == nil {
				err = p.run("serve")
			}
			if err == nil || !strings.HasPrefix(err.Error(), defaultFile) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if hint := fault.HintOf(err); hint == "" || !strings.Contains(hint, c.hint) {
				t.Errorf("hint %q, want %q", hint, c.hint)
			}
		})
	}
}

func TestAFileThatSetsNothingIsNoMistake(t *testing.T) {
	for _, file := range []string{"", "\n", "# nothing yet\n", "---\n", "{}", "commands: {}", "commands: {serve: {}}",
		"\ufeffquiet: true"} {
		inDir(t, "")
		write(t, defaultFile, file)
		if err := newProgram().run("serve"); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestTheOldFormIsRefusedWithItsNewSpelling(t *testing.T) {
	for file, want := range map[string]string{
		`serve: {listen: ":8443", watch: 5s}`:       `commands: {serve: {listen: ":8443", watch: 5s}}`,
		"store: {gc: {keep: 30}}":                   `commands: {store gc: {keep: 30}}`,
		"store:\n  gc:\n    keep: 30\n    store: x": `commands: {store gc: {keep: 30, store: x}}`,
		"reconcile: {kms-plugin: [a, b]}":           `commands: {reconcile: {kms-plugin: …}}`,
	} {
		inDir(t, file)
		err := newProgram().run("serve")
		word, _, _ := strings.Cut(file, ":")
		wantErr := fmt.Sprintf(`bakehouse.yaml:1:1: %s: settings of a command belong under "commands"`, word)
		if err == nil || err.Error() != wantErr {
			t.Errorf("%s: %v", file, err)
		}
		if hint := fault.HintOf(err); hint != "write "+want {
			t.Errorf("%s: hint %q, want %q", file, hint, want)
			continue
		}
		if strings.Contains(want, "…") {
			continue
		}
		inDir(t, want)
		if err := newProgram().run("serve"); err != nil {
			t.Errorf("the new spelling %s: %v", want, err)
		}
	}
	inDir(t, "store: {gc: {keep: "+strings.Repeat("9", 1000)+"}}")
	if hint := fault.HintOf(newProgram().run("serve")); hint != "write commands: {store: {…}}" {
		t.Errorf("hint %q", hint)
	}
}

func TestVariablesOfOthersAreNamedAndStopNothing(t *testing.T) {
	inDir(t, "")
	root := newProgram().root
	var unread []string
	// As Kubernetes sets them beside a service called bakehouse.
	environ := []string{"BAKEHOUSE_SERVICE_HOST=192.0.2.1", "BAKEHOUSE_PORT=tcp://192.0.2.1:8443", "BAKEHOUSE_=x",
		"BAKEHOUSE_PORT_8443_TCP_ADDR=192.0.2.1", "BAKEHOUSE_SERVICE_PORT=8443", "BAKEHOUSE_STORE=/srv", "HOME=/"}
	cmd, _, err := root.Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := Sources{Environ: environ, Unread: func(v []string) { unread = v }}.Fill(cmd)
	if err != nil || len(taken) != 1 || len(unread) != 5 || unread[0] != `"BAKEHOUSE_"` {
		t.Errorf("taken %v, unread %v, error %v", taken, unread, err)
	}
}

func TestWhatIsWrongInTheEnvironmentIsNamed(t *testing.T) {
	for variable, c := range map[string]struct{ want, hint string }{
		"BAKEHOUSE_SERVE_LISTN=x": {
			`unknown environment variable "BAKEHOUSE_SERVE_LISTN"`, "did you mean BAKEHOUSE_SERVE_LISTEN?",
		},
		"BAKEHOUSE_CONFG=x": {
			`unknown environment variable "BAKEHOUSE_CONFG"`, "did you mean BAKEHOUSE_CONFIG?",
		},
		"BAKEHOUSE_PASPHRASE_RELEASE=secret": {
			`unknown environment variable "BAKEHOUSE_PASPHRASE_RELEASE"`, "did you mean BAKEHOUSE_PASSPHRASE_RELEASE?",
		},
		"BAKEHOUSE_AFTER_EXPIRY=true": {
			"BAKEHOUSE_AFTER_EXPIRY: --after-expiry is for one run", "bakehouse reconcile --after-expiry",
		},
		"BAKEHOUSE_RECONCILE_AFTER_EXPIRY=1": {
			"BAKEHOUSE_RECONCILE_AFTER_EXPIRY: --after-expiry is for one run", "bakehouse reconcile --after-expiry",
		},
		"BAKEHOUSE_DEMO_KEEP=true": {"BAKEHOUSE_DEMO_KEEP: --keep is for one run", "bakehouse demo --keep"},
		"BAKEHOUSE_QUIET=maybe": {
			`BAKEHOUSE_QUIET: invalid value "maybe" for quiet: want true or false`, "bakehouse serve --help",
		},
		"BAKEHOUSE_WATCH=5":                 {`BAKEHOUSE_WATCH: invalid value "5" for watch: want a duration such as `, ""},
		"BAKEHOUSE_SERVE_WATCH=\x1b[31mred": {`BAKEHOUSE_SERVE_WATCH: invalid value "\x1b[31mred" for watch: `, ""},
	} {
		inDir(t, "")
		p := newProgram()
		p.environ = []string{variable}
		err := p.run("serve")
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", variable, err, c.want)
			continue
		}
		hint := fault.HintOf(err)
		if hint == "" || !strings.Contains(hint, c.hint) {
			t.Errorf("%q: hint %q, want %q", variable, hint, c.hint)
		}
		if strings.Contains(hint+err.Error(), "secret") {
			t.Errorf("%q: the error shows the value: %v; %s", variable, err, hint)
		}
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	inDir(t, "")
	p := newProgram()
	p.environ = []string{"BAKEHOUSE_PASSPHRASE_RELEASE=x", "BAKEHOUSE_PASSWORD=x", "BAKEHOUSE_TEST_ALL=1",
		"BAKEHOUSE_CI_HOME=x",
		"BAKEHOUSE_UNSET=", "BAKEHOUSELISTEN=x", "LISTEN=x", "BAKEHOUSE"}
	if err := p.run("serve"); err != nil || p.listen != ":1" {
		t.Errorf("listen %q: %v", p.listen, err)
	}
}

// A shared name is for the commands that can be set; a flag of the same name that is for one run stays out of it.
func TestASharedSettingLeavesAloneWhatIsForOneRun(t *testing.T) {
	inDir(t, "keep: 30")
	p := newProgram()
	if err := p.run("demo"); err != nil || p.flag("keep") != "false" {
		t.Errorf("keep = %s: %v", p.flag("keep"), err)
	}
	if err := p.run("store", "gc"); err != nil || p.flag("keep") != "30" {
		t.Errorf("keep = %s: %v", p.flag("keep"), err)
	}
}

func TestWhatDecidesTrustIsNotTakenFromAFileInTheRepository(t *testing.T) {
	const trusting = "quiet: true\nstore: elsewhere"
	for name, c := range map[string]struct {
		args, environ []string
		file, inside  string
		refused       bool
	}{
		"in the repository of the working directory": {
			args: []string{"serve"}, file: trusting, inside: ".", refused: true,
		},
		"what a flag overrides": {
			args: []string{"serve", "--store", "x"}, file: trusting, inside: ".", refused: true,
		},
		"what the environment overrides": {
			args: []string{"serve"}, environ: []string{"BAKEHOUSE_STORE=x"}, file: trusting, inside: ".", refused: true,
		},
		"for another command": {
			args: []string{"serve"}, file: "commands: {store gc: {store: x}}", inside: ".", refused: true,
		},
		"in the repository of the command line": {
			args: []string{"reconcile", "--repo", "r"}, file: trusting, inside: "r", refused: true,
		},
		"in the repository of the environment": {
			args: []string{"reconcile"}, environ: []string{"BAKEHOUSE_REPO=r"},
			file: trusting, inside: "r", refused: true,
		},
		"in the repository of the command's variable": {
			args: []string{"reconcile"}, environ: []string{"BAKEHOUSE_REPO=q", "BAKEHOUSE_RECONCILE_REPO=r"},
			file: trusting, inside: "r", refused: true,
		},
		"in the repository that the file names": {
			args: []string{"reconcile"}, file: "repo: r", inside: "r", refused: true,
		},
		"in the default repository, while the file names one": {
			args: []string{"reconcile"}, file: "repo: r", inside: ".", refused: true,
		},
		"outside of the repository": {
			args: []string{"reconcile", "--repo", "r"}, file: trusting, inside: ".",
		},
		"outside of any": {args: []string{"reconcile"}, file: trusting},
		"in the repository, but nothing that decides trust": {
			args: []string{"serve"}, file: "quiet: true\ncommands: {serve: {listen: x}}", inside: ".",
		},
		"in the environment, with a harmless file in the repo": {
			args: []string{"serve"}, environ: []string{"BAKEHOUSE_STORE=x"}, file: "quiet: true", inside: ".",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inDir(t, c.file)
			p := newProgram()
			p.environ, p.inside = c.environ, c.inside
			err := p.run(c.args...)
			if refused := fault.IsRefusal(err); refused != c.refused || !refused && err != nil {
				t.Fatalf("%v; asked for the repositories of %v", err, p.asked)
			}
			if c.refused && (!strings.HasPrefix(err.Error(), defaultFile+":") ||
				!strings.Contains(err.Error(), " cannot be set here: ") ||
				!strings.Contains(fault.HintOf(err), "outside of the repository")) {
				t.Errorf("%v; hint %s", err, fault.HintOf(err))
			}
		})
	}
}

func TestWhereARepositoryCannotBeReadTrustIsNotAssumed(t *testing.T) {
	inDir(t, "store: x")
	p := newProgram()
	p.root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		_, err := Sources{Outside: func(string, string) error { return os.ErrPermission }}.Fill(cmd)
		return err
	}
	if err := p.run("serve"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func TestASettingsFileThatCannotBeReadIsAnError(t *testing.T) {
	inDir(t, "")
	if err := os.Mkdir(defaultFile, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := newProgram().run("serve"); err == nil || !strings.HasPrefix(err.Error(), "settings: ") {
		t.Errorf("a directory: %v", err)
	}
	inDir(t, "")
	if err := os.Symlink(filepath.Join(t.TempDir(), "gone"), defaultFile); err != nil {
		t.Fatal(err)
	}
	if err := newProgram().run("serve"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link to nothing: %v", err)
	}
}

// Help is the way out of a mistake.
func TestACommandThatOnlyGroupsOthersNeedsNoSettings(t *testing.T) {
	inDir(t, "nothing of sense")
	p := newProgram()
	p.root.RunE = func(*cobra.Command, []string) error { return nil }
	for _, c := range p.root.Commands() {
		if c.Name() == "store" {
			c.RunE = p.root.RunE
		}
	}
	if err := p.run("store"); err != nil {
		t.Error(err)
	}
	if err := p.run("store", "gc"); err == nil {
		t.Error("the mistake is not seen at all")
	}
}

func TestDeclaringAFlagThatDoesNotExistPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("nothing happened")
		}
	}()
	Trust(pflag.NewFlagSet("", pflag.ContinueOnError), "stoer")
}
