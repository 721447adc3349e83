package settings

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"bakehouse/schema/fault"

	"go.yaml.in/yaml/v3"
)

// What is taken for settings has the same meaning when it is written plainly, and what is not has a place and a hint.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"store: /srv/x\ncommands:\n  store gc: {keep: 30}\n  serve:\n    listen: \":8443\"\n",
		"kms-plugin: [\"a=/b,c\", d]\nquiet: true # comment\n",
		"\"\": x", "serve: {listen: x}", "store: {gc: {keep: 30}}", "store: &a [*a]", "? [a]\n: b", "<<: {a: b}",
		"--- !!map\n...\n---\n",
		"store: |\n  text\n", "store: >-\n  folded\n", "%YAML 1.2\n---\nstore: x", "\xff\xfe",
		"store: 'it''s'", "store: \"\\0\"",
	} {
		f.Add([]byte(seed))
	}
	place := regexp.MustCompile(`^x\.yaml(:\d+){0,2}( is larger|: )`)
	tree := treeOf(newProgram().root)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := tree.parse("x.yaml", data)
		if err != nil {
			if place.FindString(err.Error()) == "" || fault.HintOf(err) == "" {
				t.Fatalf("error without a place or a hint: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Fatalf("error that a terminal would act on: %q", err)
			}
			return
		}
		top, commands := map[string]any{}, map[string]map[string]any{}
		for _, e := range list {
			var value any = e.values
			if !e.list {
				value = e.values[0]
			}
			if tree.class(e.name) == Once {
				t.Fatalf("%s is for one run", e.name)
			}
			if e.command == "" {
				top[e.flag] = value
				continue
			}
			if commands[e.command] == nil {
				commands[e.command] = map[string]any{}
			}
			commands[e.command][e.flag] = value
		}
		top[commandsKey] = commands
		plain, err := yaml.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(plain, "!") {
			return // what is no text for YAML is written with a tag
		}
		again, err := tree.parse("plain.yaml", plain)
		if err != nil {
			t.Fatalf("%s\n%v", plain, err)
		}
		if got, want := meaning(again), meaning(list); len(plain) <= maxSize && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n%v\n%v", plain, got, want)
		}
	})
}

// meaning is what a list of settings says, whatever their order and place.
func meaning(list entries) found {
	m := list.byName()
	for n, e := range m {
		e.at = ""
		if len(e.values) == 0 {
			e.values = nil
		}
		m[n] = e
	}
	return m
}
