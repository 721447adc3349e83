package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// program is one with a command of each kind.
func program() *cobra.Command {
	root := &cobra.Command{Use: "oven", SilenceErrors: true, SilenceUsage: true}
	bake := &cobra.Command{Use: "bake", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := AtMostOne(cmd, "json", "wait"); err != nil {
			return err
		}
		return fault.Hint(errors.New("the oven is cold"), "heat it")
	}}
	bake.Flags().Bool("json", false, "")
	bake.Flags().Int("degrees", 0, "")
	bake.Flags().DurationP("wait", "w", time.Minute, "")
	keys := &cobra.Command{Use: "key"}
	keys.AddCommand(&cobra.Command{Use: "show", RunE: func(*cobra.Command, []string) error { return nil }})
	root.AddCommand(bake, keys)
	ExplainMistakes(root)
	return root
}

func TestMistakesAreNamedWithWhatWasProbablyMeant(t *testing.T) {
	for line, want := range map[string]string{
		"bkae": "oven: error: unknown command \"bkae\" for `oven`\noven: hint: did you mean `oven " +
			"bake`?\n",
		"key shwo": "oven: error: unknown command \"shwo\" for `oven key`\noven: hint: did you mean `oven " +
			"key show`?\n",
		"sing":            "oven: error: unknown command \"sing\" for `oven`\noven: hint: see `oven --help`\n",
		"bake --degres 3": "oven: error: unknown flag --degres\noven: hint: did you mean --degrees?\n",
		"bake --colour":   "oven: error: unknown flag --colour\noven: hint: see `oven bake --help`\n",
		"bake -x":         "oven: error: unknown flag -x\noven: hint: see `oven bake --help`\n",
		"bake --degrees warm": "oven: error: invalid value \"warm\" for --degrees: want an integer\noven: hint: see " +
			"`oven bake --help`\n",
		"bake --degrees": "oven: error: --degrees needs a value\noven: hint: see `oven bake --help`\n",
		"bake -w soon": "oven: error: invalid value \"soon\" for --wait: want a duration such as 90s, 10m or " +
			"1h\noven: hint: see `oven bake --help`\n",
		"help bkae": "oven: error: unknown command \"bkae\" for `oven`\noven: hint: did you mean `oven bake`?\n",
		"help key shwo": "oven: error: unknown command \"shwo\" for `oven key`\noven: hint: did you mean `oven " +
			"key show`?\n",
		"bake bread": "oven: error: unexpected argument \"bread\": `oven bake` takes none\noven: hint: see " +
			"`oven bake --help`\n",
		"bake --wait 1s --json": `{"error":"--json and --wait exclude one another","hint":"set one of them"}` + "\n",
		"bake":                  "oven: error: the oven is cold\noven: hint: heat it\n",
		"bake --json":           `{"error":"the oven is cold","hint":"heat it"}` + "\n",
		"bake --degrees no --json": `{"error":"invalid value \"no\" for --degrees: want an integer","hint":"see ` +
			"`oven bake --help`" + `"}` + "\n",
	} {
		t.Run(line, func(t *testing.T) {
			root := program()
			var out bytes.Buffer
			root.SetErr(&out)
			args := strings.Fields(line)
			root.SetArgs(args)
			cmd, err := root.ExecuteC()
			if err == nil {
				t.Fatal("no error")
			}
			if Report(cmd, args, err); out.String() != want {
				t.Errorf("printed\n%swant\n%s", &out, want)
			}
		})
	}
}

func TestAGroupOfCommandsPrintsItsHelp(t *testing.T) {
	root := program()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs([]string{"key"})
	if err := root.Execute(); err != nil || !strings.Contains(out.String(), "oven key [command]") {
		t.Errorf("%v, and printed %q", err, &out)
	}
}

func TestNearestWord(t *testing.T) {
	known := []string{"status", "show-config", "update", "register", "rollback", "run"}
	for word, want := range map[string]string{
		"stauts": "status", "Status": "status", "sho": "show-config", "updat": "update", "registre": "register",
		"r": "", "": "", "nu": "", "rn": "run", "delete": "", "roll": "rollback",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
