package main

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/manual"
	"bakehouse/schema"

	"github.com/spf13/cobra"
)

// manPage is the page of this program. Packages carry reconcile/bake/docs/bakehouse-agent.8, which is a copy of it as
// it was when bake.Version was raised last: another page means other packages.
const manPage = "testdata/bakehouse-agent.8"

func TestTheManPageSaysWhatTheCommandsSay(t *testing.T) {
	want := roff(command())
	if *update {
		if err := os.WriteFile(manPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(manPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		g, w := strings.Split(string(got), "\n"), strings.Split(want, "\n")
		i := 0
		for i < len(g) && i < len(w) && g[i] == w[i] {
			i++
		}
		t.Errorf("%s differs from line %d on (-update writes it)", manPage, i+1)
	}
}

// roff is the manual page of a command and its verbs.
func roff(root *cobra.Command) string {
	var p manual.Page
	p.Line(`.\" Written by %s from the program's own help.`, "TestTheManPageSaysWhatTheCommandsSay")
	p.Line(`.TH BAKEHOUSE\-AGENT 8 "" Bakehouse "System Administration"`)
	p.Line(".SH NAME\n%s \\- %s", manual.Escape(root.Name()),
		manual.Escape(strings.ToLower(root.Short[:1])+root.Short[1:]))
	p.Line(".SH SYNOPSIS")
	verbs := slices.DeleteFunc(slices.Clone(root.Commands()), func(c *cobra.Command) bool {
		return !c.IsAvailableCommand() || c.Name() == "help"
	})
	for i, c := range verbs {
		if i > 0 {
			p.Line(".br")
		}
		p.Line(".B %s %s\n[\\fIoption\\fR]...", manual.Escape(root.Name()), manual.Escape(c.Name()))
	}
	p.Line(".SH DESCRIPTION")
	p.Text(root.Long)
	p.Line(".SH COMMANDS")
	for _, c := range verbs {
		p.Line(".SS %s", manual.Escape(c.Name()))
		p.Text(cmp.Or(c.Long, c.Short))
		p.Flags(c.LocalNonPersistentFlags(), nil)
	}
	p.Line(".SH OPTIONS OF ALL COMMANDS")
	p.Flags(root.PersistentFlags(), nil)
	p.Line(".SH FILES")
	for _, f := range [][2]string{
		{schema.ConfigFile(runtime.GOOS), "settings, from the package; the next package replaces them"},
		{schema.AnchorFile(runtime.GOOS), "the root metadata that the fleet's signatures are verified with"},
		{schema.HealthFile(runtime.GOOS), "health checks that must succeed after an installation"},
		{schema.StateDir(runtime.GOOS), "registration, state, log and the previous package; readable by root only"},
	} {
		p.Line(".TP\n.I %s\n%s", manual.Escape(f[0]), manual.Escape(f[1]))
	}
	p.Line(".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)")
	return p.String()
}
