package engine

import (
	"regexp"
	"strings"

	"cuelang.org/go/cue/token"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// schemaPrefix starts the file names of the published schema in positions.
const schemaPrefix = fleet.Builtin + "schema/"

// schemaFiles are the published schema.
var schemaFiles = func() (files []result.File) {
	entries, _ := schema.CUE.ReadDir(".") // embedded
	for _, e := range entries {
		data, _ := schema.CUE.ReadFile(e.Name())
		files = append(files, result.File{Name: schemaPrefix + e.Name(), Data: data})
	}
	return files
}()

var definition = regexp.MustCompile(`^(#[A-Za-z]+):`)

// schemaRule is what the definition at a line of the published schema asks for.
func schemaRule(at token.Pos) string {
	for _, s := range schemaFiles {
		if s.Name != at.Filename() {
			continue
		}
		lines := strings.Split(string(s.Data), "\n")
		if at.Line() > len(lines) {
			return ""
		}
		if m := definition.FindStringSubmatch(lines[at.Line()-1]); m != nil {
			return ruleOf(m[1])
		}
	}
	return ""
}

// ruleOf is the comment of a definition of the published schema, in words for a user.
func ruleOf(name string) string {
	for _, s := range schemaFiles {
		_, text, ok := strings.Cut(string(s.Data), "\n// "+name+" is ")
		if ok {
			text, _, _ = strings.Cut(text, "\n"+name+":")
			return "it must be " + strings.TrimSuffix(strings.ReplaceAll(text, "\n// ", " "), ".")
		}
	}
	return ""
}
