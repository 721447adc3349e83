package main

import (
	"bufio"
	"bytes"
	"context"
	"strings"
	"testing"

	"bakehouse/agent"
)

// typed is a terminal on which somebody types.
func typed(text string) (*prompt, *bytes.Buffer) {
	var out bytes.Buffer
	return &prompt{ctx: context.Background(), out: &out, terminal: true,
		lines: bufio.NewReader(strings.NewReader(text))}, &out
}

func TestOnATerminalRegisterAsksOnlyForWhatIsMissing(t *testing.T) {
	a, err := agent.New(agent.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p, out := typed("https://bakehouse.example\n web01 \nops\n")
	var o agent.RegisterOptions
	if err := complete(a, &o, p); err != nil {
		t.Fatal(err)
	}
	if o.Server != "https://bakehouse.example" || o.Host != "web01" || o.User != "ops" {
		t.Errorf("options %+v", o)
	}
	for _, q := range []string{"server URL: ", "host name in the fleet [", "user: "} {
		if !strings.Contains(out.String(), q) {
			t.Errorf("asked %q, not %q", out, q)
		}
	}

	c := registerCommand(&global{})
	if err := c.ParseFlags([]string{"--ca", "my ca.pem", "--key", "a.pem", "--key", "b.pem", "--force"}); err != nil {
		t.Fatal(err)
	}
	want := `register --server https://bakehouse.example --host web01 --user ops --ca 'my ca.pem' --force ` +
		`--key a.pem --key b.pem --password-file FILE`
	if got := unasked(c, &agent.Registered{Host: o.Host, Server: o.Server}, o.User); got != want || !p.asked {
		t.Errorf("without questions: %s", got)
	}

	p, out = typed("")
	o = agent.RegisterOptions{Server: "https://bakehouse.example", Host: "web01", User: "ops"}
	if err := complete(a, &o, p); err != nil || out.Len() > 0 {
		t.Errorf("with all flags it asks %q, %v", out, err)
	}
	for name, want := range map[string]string{"WEB01.example.com": "web01", "web01": "web01", "": ""} {
		if got := shortName(name); got != want {
			t.Errorf("%s is proposed for %s", got, name)
		}
	}
}

func TestAnEmptyAnswerTakesTheProposedHostName(t *testing.T) {
	p, _ := typed("\n")
	if s, err := p.line("host", "web01.example", "--host"); err != nil || s != "web01.example" {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := p.line("host", "", "--host"); err == nil {
		t.Error("a closed terminal answers")
	}
}
