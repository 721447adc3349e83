package manual

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/settings"

	"github.com/spf13/cobra"
)

func program() *cobra.Command {
	root := &cobra.Command{Use: "bakehouse", Short: "An oven", Long: "An oven.\n\n  bakehouse demo", Version: "1.2-3"}
	root.PersistentFlags().String("config", "", "settings file")
	root.PersistentFlags().Bool("quiet", false, "print less")
	settings.Setting(root.PersistentFlags(), "quiet")
	run := func(*cobra.Command, []string) {}
	store := &cobra.Command{Use: "store", Short: "Maintain the store"}
	gc := &cobra.Command{Use: "gc RELEASE...", Short: "Delete old releases", Long: ".a line that roff would obey",
		Run: run}
	gc.Flags().StringP("store", "s", "store", "the `LOCATION`")
	gc.Flags().Bool("dry-run", false, "delete nothing")
	gc.Flags().Bool("secret", false, "not shown")
	if err := gc.Flags().MarkHidden("secret"); err != nil {
		panic(err)
	}
	settings.Trust(gc.Flags(), "store")
	store.AddCommand(gc, &cobra.Command{Use: "hidden", Hidden: true, Run: run})
	root.AddCommand(store)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

func TestThereIsAPageForEachCommandThatUsersSee(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "man1")
	names, err := Write(dir, program())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"bakehouse.1", "bakehouse-store.1", "bakehouse-store-gc.1"}; !slices.Equal(names, want) {
		t.Fatalf("pages %v, want %v", names, want)
	}
	got, err := os.ReadFile(filepath.Join(dir, "bakehouse-store-gc.1"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `.TH BAKEHOUSE\-STORE\-GC 1 "" "Bakehouse 1.2\-3" "User Commands"
.SH NAME
bakehouse\-store\-gc \- delete old releases
.SH SYNOPSIS
.B bakehouse store gc
RELEASE...
[\fIoption\fR]...
.SH DESCRIPTION
.PP
\&.a line that roff would obey
.SH OPTIONS
.TP
.B \-\-dry\-run\fR
delete nothing
.TP
.B \-s, \-\-store\fR \fILOCATION\fR
the LOCATION
The default is store. Setting: BAKEHOUSE_STORE_GC_STORE.
.SH OPTIONS OF ALL COMMANDS
.TP
.B \-\-config\fR \fIstring\fR
settings file
.TP
.B \-\-quiet\fR
print less
Setting: BAKEHOUSE_STORE_GC_QUIET.
.SH SEE ALSO
.BR bakehouse\-store (1)
`
	if string(got) != want {
		t.Errorf("the page is\n%s", got)
	}
	top, err := os.ReadFile(filepath.Join(dir, "bakehouse.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".nf\n  bakehouse demo\n.fi\n",
		".SH COMMANDS\n.TP\n.B bakehouse store\nMaintain the store\n"} {
		if !strings.Contains(string(top), want) {
			t.Errorf("bakehouse.1 lacks %q:\n%s", want, top)
		}
	}
}

func TestTheTableHasEveryFlagOnce(t *testing.T) {
	table := Settings(program())
	for _, want := range []string{
		"| `quiet` | setting | `BAKEHOUSE_QUIET` |  | all commands |\n",
		"| `store` | trusted setting | `BAKEHOUSE_STORE` | `store` | store gc |\n",
		"| store gc | `--dry-run`, `--secret` |\n",
	} {
		if strings.Count(table, want) != 1 {
			t.Errorf("want one line %q in\n%s", want, table)
		}
	}
}
