package plan

import (
	"bytes"
	"html"
	"strings"
	"testing"

	"bakehouse/schema/fleet"
	"bakehouse/schema/keeps"
)

func TestWhatIsAnnouncedAsDroppedAndPluginsThatGoAreTold(t *testing.T) {
	monitored := func(plugin string, dropped ...string) *fleet.Output {
		k := keeps.Default(plugin)
		k.Command, k.Names, k.Dropped = []string{"/usr/bin/a"}, "x", dropped
		return &fleet.Output{Plugin: plugin, Keeps: &k}
	}
	before := side(map[string][]*fleet.Output{
		"a": {monitored("p"), monitored("q")}, "b": {monitored("p"), {Plugin: "r"}}, "c": {monitored("p", "old")}}, nil)
	after := side(map[string][]*fleet.Output{
		"a": {monitored("p", "df", "mem.*")}, "b": {monitored("p", "df", "mem.*")},
		"c": {monitored("p", "old", "new")}}, nil)
	r := build(before, after)
	var text, markdown bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.Markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"plugin p announces that these names go from the monitoring of 2 hosts: df, mem.*",
		"plugin p announces that these names go from the monitoring of 1 host: new",
		"plugin q goes from 1 host, and with it all that it has the monitoring print",
		"plugin r goes from 1 host",
	} {
		if !strings.Contains(text.String(), "note: "+want) {
			t.Errorf("%q is not in\n%s", want, &text)
		}
		if !strings.Contains(html.UnescapeString(markdown.String()), want) {
			t.Errorf("%q is not in\n%s", want, &markdown)
		}
	}
	if len(r.Losses) != 4 {
		t.Errorf("%+v", r.Losses)
	}
}
