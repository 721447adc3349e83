package engine

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/needs"
)

func TestMain(m *testing.M) {
	needs.Properties()
	m.Run()
}

// readings are what is read off the syntax of a folder's file, and what CUE says of it.
func readings(text string) (read, judged *result.Node, sound bool) {
	src := &result.Source{Path: "hosts", Definition: result.FolderDefinition,
		Files: []result.File{{Name: "hosts/a.cue", Data: []byte(text)}}}
	d, _ := parseDir(src)
	if len(d.files) == 0 {
		return nil, nil, false
	}
	read = d.data(src.Definition, DefaultLimits.Nodes)
	d, ps := parseDir(src)
	done := d.evaluate(src.Definition, false)
	if len(ps) > 0 || done.broken || len(done.ps) > 0 {
		return read, nil, false
	}
	judged, err := toNode(done.raw, DefaultLimits.Nodes)
	return read, judged, err == nil
}

func TestPlainListsOfHostsAreReadAsCUEReadsThem(t *testing.T) {
	for _, text := range []string{
		"package x\n\nhosts: b: {address: \"192.0.2.1\", labels: role: \"r\", tags: z: \"t\"}\n" +
			"hosts: a: {tags: {y: \"1\", b: \"2\"}}\nhosts: c: labels: q: \"q\"\n",
		"// Who they are.\npackage x\n\n// All of them.\nhosts: {\n\tb: {address: \"192.0.2.1\", labels: " +
			"{\"role\": \"r\"}}\n\ta: {}\n\t\"c.d\": labels: q: \"ä\" // there\n}\n" +
			"defaults: {site: \"muc\", tags: x: \"y\"}\n",
		"package x\nhosts: z: {ring: \"q\"}\nhosts: {\n  y: {}\n  b: {}\n}\nhosts: {}\nhosts: {f: {}, c: {}}\n",
		"package x\n",
	} {
		read, judged, sound := readings(text)
		if !sound || read == nil || !reflect.DeepEqual(read, judged) {
			t.Errorf("%s\nread %+v\nCUE  %+v (%v)", text, read, judged, sound)
		}
	}
}

func TestWhatIsMoreThanDataIsLeftToCUE(t *testing.T) {
	for _, hosts := range []string{
		`a: {}, _a: 1`, `a: address: "1\(2)"`, `a: address: "1" | "2"`, `a: address: "1" & "1"`, `a: address: b, b: ""`,
		`a: address: #"1"#`, `a: address: '1'`, `a: address: "\u0041"`, `a: labels: "a\u0000": "b"`,
		`a: labels: a?: "b"`, `a: labels: a!: "b"`, `a: labels: {a: "b", a: "b"}`, `a: labels: X={a: "b"}`,
		`a: labels: {a: "b"} @x(y)`, `a: state: "active"`, `a: was: "b"`, `a: set: x: {}`,
		`a: {}, [string]: _`, `a: {}, "\("b")": {}`, `a: {...}`, `a: {#x: "y"}`, `a: {let b = 1}`,
		`a: {if true {}}`, `a: {{}}`, `a: address: 3`, `a: address: null`, `a: "b"`,
		`a: labels: "b"`, `a: address: {}`, `a: colour: "red"`, `"a..b": {}`, `"-": {}`, `"": {}`, `a: site: "a..b"`,
		`a: site: ""`, `a: address: "` + "\x7f" + `"`, strings.Repeat("a", 254) + ": {}",
	} {
		if read, _, _ := readings("package x\nhosts: {" + hosts + "}\n"); read != nil {
			t.Errorf("%s: read %+v", hosts, read)
		}
	}
	for _, text := range []string{"package x\nimport \"list\"\nhosts: {}\n", "package x\nrules: {}\n",
		"package x\n{}\n", "package x\nhosts: a: {}\nhosts: a: {}\n", "package x\nlet b = {}\nhosts: {}\n",
		"package x\nhosts: a: {} @x()\n",
		"@if(x)\npackage x\nhosts: {}\n", "package x\nhosts: {}\nhosts: \"x\"\n", "package x\ncolour: \"red\"\n"} {
		if read, _, _ := readings(text); read != nil {
			t.Errorf("%s: read %+v", text, read)
		}
	}
	d, _ := parseDir(&result.Source{Path: "hosts", Definition: result.FolderDefinition, Files: []result.File{
		{Name: "hosts/a.cue", Data: []byte("package x\nhosts: {a: {}, b: {}}\n")}}})
	for most, want := range map[int]bool{3: false, 4: true} {
		if got := d.data(result.FolderDefinition, most) != nil; got != want {
			t.Errorf("of at most %d values: %v", most, got)
		}
	}
}

// Yes is said only where CUE says yes, and of the same value, in the same order and places.
func TestWhatIsReadOffTheSyntaxIsWhatCUEMakesOfIt(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "web01", `"c.d"`, `"e"`, "labels", "hosts", "_h", "true", `"a..b"`,
		`"-x"`, "#d", "site", `"ä"`, "a?", "f"})
	text := rapid.SampledFrom([]string{`"x"`, `"192.0.2.1"`, `""`, `"a b"`, `"\t"`, `"a..b"`, `"ä"`, "3", "a",
		`"x" | "y"`, `"""` + "\n\tx\n\t" + `"""`, "{}", `"\u0000"`, "_", `#"x"#`})
	key := rapid.SampledFrom([]string{"address", "labels", "tags", "site", "ring", "platform", "format", "retireAfter",
		"state", "was", "set", "colour", `"address"`})
	odd := func(t *rapid.T, of int) bool { return rapid.IntRange(0, of).Draw(t, "odd") == 0 }
	var value func(t *rapid.T, depth int) string
	value = func(t *rapid.T, depth int) string {
		if depth == 0 || odd(t, 20) {
			return text.Draw(t, "text")
		}
		names := name
		if depth == 2 && !odd(t, 10) {
			names = key
		}
		var parts []string
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			below := depth - 1
			n := names.Draw(t, "name")
			if depth == 2 && n != "labels" && n != "tags" && !odd(t, 10) {
				below = 0
			}
			parts = append(parts, n+": "+value(t, below))
		}
		if len(parts) == 1 && odd(t, 1) {
			return parts[0]
		}
		return "{" + strings.Join(parts, rapid.SampledFrom([]string{", ", "\n\t", "\n\n"}).Draw(t, "between")) + "}"
	}
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		file := rapid.SampledFrom([]string{"package x\n", "// c\npackage x\n\n", "\n\npackage y\n// c\n"}).
			Draw(t, "head")
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			top := "hosts"
			if odd(t, 8) {
				top = rapid.SampledFrom([]string{"defaults", "rules", "colour", `"hosts"`}).Draw(t, "top")
			}
			file += fmt.Sprintf("%s: %s\n", top, value(t, 3))
		}
		got, judged, sound := readings(file)
		if got == nil {
			return
		}
		read++
		if !sound || !reflect.DeepEqual(got, judged) {
			t.Fatalf("%s\nread %+v\nCUE  %+v (%v)", file, got, judged, sound)
		}
	})
	if read == 0 {
		t.Error("nothing was read")
	}
}
