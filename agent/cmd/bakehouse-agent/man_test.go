package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manPage is what packages carry as /usr/share/man/man8/bakehouse-agent.8.gz.
const manPage = "../../../reconcile/bake/docs/bakehouse-agent.8"

func TestTheManPageSaysWhatTheCommandsSay(t *testing.T) {
	want := roff(command())
	if os.Getenv("BAKEHOUSE_TEST_UPDATE") != "" {
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
		t.Errorf("%s is another one from line %d on (BAKEHOUSE_TEST_UPDATE=1 writes it anew; then raise bake.Version)", manPage, i+1)
	}
}

// roff is the manual page of a command and its verbs (man(7)).
func roff(root *cobra.Command) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.\" Written by %s from the program's own help.`, "TestTheManPageSaysWhatTheCommandsSay")
	line(`.TH BAKEHOUSE\-AGENT 8 "" Bakehouse "System Administration"`)
	line(".SH NAME\n%s \\- %s", escape(root.Name()), escape(strings.ToLower(root.Short[:1])+root.Short[1:]))
	line(".SH SYNOPSIS")
	verbs := slices.DeleteFunc(slices.Clone(root.Commands()), func(c *cobra.Command) bool { return !c.IsAvailableCommand() || c.Name() == "help" })
	for i, c := range verbs {
		if i > 0 {
			line(".br")
		}
		line(".B %s %s\n[\\fIoption\\fR]...", escape(root.Name()), escape(c.Name()))
	}
	line(".SH DESCRIPTION")
	text(&b, root.Long)
	line(".SH COMMANDS")
	for _, c := range verbs {
		line(".SS %s", escape(c.Name()))
		text(&b, c.Long)
		flags(&b, c.LocalNonPersistentFlags())
	}
	line(".SH OPTIONS OF ALL COMMANDS")
	flags(&b, root.PersistentFlags())
	line(".SH FILES")
	for _, f := range [][2]string{
		{schema.ConfigFile, "settings, from the package; what the next package brings replaces them"},
		{schema.AnchorFile, "the root that the fleet's signatures are verified from"},
		{schema.HealthFile, "what has to pass after an installation"},
		{schema.StateDir, "registration, state, log, and what is needed to go back to the previous package; for root only"},
	} {
		line(".TP\n.I %s\n%s", escape(f[0]), escape(f[1]))
	}
	line(".SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)")
	return b.String()
}

// text is a help text: paragraphs, and indented lines as they are.
func text(b *strings.Builder, s string) {
	for _, p := range strings.Split(strings.TrimSpace(s), "\n\n") {
		b.WriteString(".PP\n")
		example := strings.HasPrefix(p, "  ")
		if example {
			b.WriteString(".nf\n")
		}
		for l := range strings.Lines(p) {
			b.WriteString(escape(strings.TrimRight(l, "\n")) + "\n")
		}
		if example {
			b.WriteString(".fi\n")
		}
	}
}

func flags(b *strings.Builder, f *pflag.FlagSet) {
	f.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n.B %s\\fR", escape(name))
		if kind != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", escape(kind))
		}
		fmt.Fprintf(b, "\n%s\n", escape(usage))
	})
}

// escape keeps roff from reading text as requests, and hyphens from becoming typographical ones.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
