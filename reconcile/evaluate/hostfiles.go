package evaluate

import (
	"bytes"
	"fmt"
	"text/template"

	"bakehouse/schema/fleet"
)

// hostFiles is the shipped plugin whose files are templates. CUE executes them, in a process with limits, and says
// neither what is wrong with one nor where the rule has it.
const hostFiles = "host_files"

// eachTemplate calls back for every template of a rule.
func eachTemplate(params map[string]fleet.Value, yield func(path string, v fleet.Value)) {
	for _, file := range params["files"].Fields {
		for _, field := range file.Fields {
			if field.Name == "template" {
				yield(file.Name, field.Value)
			}
		}
	}
}

// checkTemplates says which templates are none.
func checkTemplates(params map[string]fleet.Value) error {
	var ps fleet.Problems
	eachTemplate(params, func(path string, v fleet.Value) {
		if _, err := template.New("template").Parse(v.Text()); err != nil {
			ps = append(ps, fleet.Problem{Pos: v.Pos, Msg: fmt.Sprintf("plugin %s: file %s: %v", hostFiles, path, err)})
		}
	})
	return ps.Err()
}

// checkTexts says which templates name what the host has not.
func checkTexts(params map[string]fleet.Value, in fleet.Inputs, out *fleet.Output) error {
	var ps fleet.Problems
	eachTemplate(params, func(path string, v fleet.Value) {
		for _, f := range out.Files {
			if f.Path == path && bytes.Contains(f.Content, []byte("<no value>")) {
				ps = append(ps, fleet.Problem{Pos: v.Pos,
					Msg: fmt.Sprintf("plugin %s: file %s: the template names what host %s has not, such as a label",
						hostFiles, path, in.Host["name"]),
					Hint: "give the host that label, or ask for it: {{if .host.labels.x}}{{.host.labels.x}}{{end}}"})
			}
		}
	})
	return ps.Err()
}
