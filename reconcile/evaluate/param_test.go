package evaluate

import (
	"reflect"
	"testing"

	"bakehouse/schema/fleet"
)

func TestParametersAreDescribedAsThePluginWritesThem(t *testing.T) {
	f := loaded(t, repo(map[string]string{
		"plugins/p/plugin.cue": `package p
plugin: {
	platform: os: string
	host: name: string
	params: {
		// How loud.
		//
		// Up to eleven.
		volume: int & <=11 | *5
		mode: "quiet" | *"loud" | "off"
		text: string
		path: string | *"/opt/\(platform.os)"
		list: [...string]
		hint?: string
		more: {a: int | *1, b?: string}
		on: *true | bool
	}
}
`, "hosts/r.cue": "package hosts\nrules: p: [{value: text: \"x\"}]\n"}))
	p := f.Plugins["p"]
	got := map[string]fleet.Param{}
	for _, param := range p.All() {
		got[param.Name] = param
	}
	for name, want := range map[string]fleet.Param{
		"volume":  {Type: "int & <=11", Default: "5", Doc: "How loud.\n\nUp to eleven."},
		"mode":    {Type: `"loud" | "quiet" | "off"`, Default: `"loud"`},
		"text":    {Type: "string", Required: true},
		"path":    {Type: "string", Default: `"/opt/\(platform.os)"`},
		"list":    {Type: "[...string]", Default: "[]"},
		"hint":    {Type: "string"},
		"more":    {Type: "{a: int | *1, b?: string}", Default: `{"a":1}`},
		"on":      {Type: "bool", Default: "true"},
		"enabled": {Type: "bool", Default: "true", Doc: "Whether hosts that rules give the plugin get it."},
	} {
		p := got[name]
		if name != fleet.Enabled && p.Pos.File != "plugins/p/plugin.cue" {
			t.Errorf("%s stands at %s", name, p.Pos)
		}
		p.Pos, want.Name = fleet.Pos{}, name
		if !reflect.DeepEqual(p, want) {
			t.Errorf("%s is\n%+v, want\n%+v", name, p, want)
		}
	}
	if in := p.Inputs(); len(in) != 2 || in[0] != "host.name" || in[1] != "platform.os" {
		t.Errorf("inputs %v", in)
	}
}

// Help is what a plugin that everyone has needs most.
func TestEveryShippedPluginAndParameterIsExplained(t *testing.T) {
	all, err := Shipped(t.Context())
	if err != nil || len(all) != len(ShippedNames()) {
		t.Fatalf("%d plugins, %v", len(all), err)
	}
	for name, p := range all {
		if p.Doc == "" || !p.Shipped {
			t.Errorf("%s has no doc", name)
		}
		for _, param := range p.All() {
			if param.Doc == "" || param.Type == "" {
				t.Errorf("%s.%s: %+v", name, param.Name, param)
			}
		}
	}
}
