package bake

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"

	"bakehouse/schema"
)

// The steps at which a plugin's scripts run.
const (
	preinst  = "preinst"
	postinst = "postinst"
	prerm    = "prerm"
	postrm   = "postrm"
)

var steps = []string{preinst, postinst, prerm, postrm}

//go:embed scripts/postinst.sh
var postinstUnits string

//go:embed scripts/prerm.sh
var prermUnits string

//go:embed scripts/postrm.sh
var postrmUnits string

// unitList is UnitsFile: what the installer shall enable or disable, and when it has to restart it: if a line is not
// the one of the package before.
func unitList(units []unit) []byte {
	var b bytes.Buffer
	for _, u := range units {
		state := "disable"
		if u.enable {
			state = "enable"
		}
		fmt.Fprintf(&b, "%s %s %s\n", u.name, u.inputs, state)
	}
	return b.Bytes()
}

// maintainerScripts is the scripts of a package for dpkg, as files at the root of the control archive. They do not depend
// on the units, so that all packages whose plugins bring no scripts share them.
//
// Each plugin's part runs in a subshell, so that its exit and its variables are its own, and fails the installation if it
// fails. The part for units comes last in postinst and first in prerm, and never fails.
func maintainerScripts(l *layout) []*file {
	vars := strings.NewReplacer("@STATE@", schema.StateDir, "@UNITS@", schema.UnitsFile)
	var out []*file
	for _, step := range steps {
		var own strings.Builder
		for _, s := range l.scripts {
			if s.step == step {
				fmt.Fprintf(&own, "# plugin %s\n(\n%s\n)\n", s.plugin, strings.TrimRight(s.text, "\n"))
			}
		}
		text := "#!/bin/sh\n# Baked by Bakehouse.\nset -e\n"
		switch step {
		case preinst:
			if own.Len() == 0 {
				continue
			}
			text += own.String()
		case postinst:
			text += own.String() + vars.Replace(postinstUnits)
		case prerm:
			text += vars.Replace(prermUnits) + own.String()
		case postrm:
			text += own.String() + vars.Replace(postrmUnits)
		}
		f := inline("(all)", "/"+step, []byte(text))
		f.mode = 0o755
		out = append(out, f)
	}
	return out
}
