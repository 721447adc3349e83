package bake

import (
	"strings"

	"bakehouse/reconcile/bake/rpmheader"
	"bakehouse/schema"
)

// rpmUnits, rpmNoUnits and rpmPostun say when rpm's scripts call what dpkg's call, too.
var (
	rpmUnits   = "root=\n" + hiddenUnits + syncUnits + "units\n"
	rpmNoUnits = "root=\n" + stopUnits + "[ \"$1\" -gt 0 ] || nounits\n"
	rpmPostun  = "if [ \"$1\" -lt 1 ] && [ -d /run/systemd/system ]; then systemctl --quiet daemon-reload </dev/null || true; fi\n"
)

// rpmScript is a script as an rpm's header has it.
type rpmScript struct {
	tag, prog, sense uint32
	text             string
}

// rpmActions set fleet.ActionVariable. rpm says how many packages of this name there will be; before and after the whole
// transaction its versions differ in what they say, so the installed files tell, and a mark that %pre leaves.
var rpmActions = map[string]string{
	pretrans: "BAKEHOUSE_ACTION=install\n[ ! -e @UNITS@ ] || BAKEHOUSE_ACTION=upgrade\n",
	preinst: `BAKEHOUSE_ACTION=install
[ "$1" -lt 2 ] || BAKEHOUSE_ACTION=upgrade
rm -f @STATE@/installing
[ $BAKEHOUSE_ACTION = upgrade ] || (umask 077 && mkdir -p @STATE@ && : >@STATE@/installing)
`,
	postinst: "BAKEHOUSE_ACTION=install\n[ \"$1\" -lt 2 ] || BAKEHOUSE_ACTION=upgrade\n",
	prerm:    "BAKEHOUSE_ACTION=remove\n[ \"$1\" -lt 1 ] || BAKEHOUSE_ACTION=upgrade\n",
	postrm:   "BAKEHOUSE_ACTION=remove\n[ \"$1\" -lt 1 ] || BAKEHOUSE_ACTION=upgrade\n",
	posttrans: `BAKEHOUSE_ACTION=upgrade
[ ! -e @STATE@/installing ] || BAKEHOUSE_ACTION=install
rm -f @STATE@/installing
`,
}

// rpmScripts is the scripts of a package for rpm. Units come in %posttrans, when the old package's files are gone; on an
// upgrade rpm runs the old package's %preun and %postun after the new one's %post. rpm undoes nothing if what comes after
// the files fails, it only says so. There is no purge: what the updater knows stays on the host.
func rpmScripts(l *layout) []rpmScript {
	vars := strings.NewReplacer("@STATE@", schema.StateDir("linux"), "@UNITS@", schema.UnitsFile("linux"))
	var out []rpmScript
	add := func(s rpmScript, action, before, own, after string) {
		if own != "" {
			own = action + own
		}
		if s.text = vars.Replace(before + own + after); s.text != "" {
			s.text = "set -e\n" + s.text
			out = append(out, s)
		}
	}
	early, begin, late := l.parts(pretrans), l.parts(preinst), l.parts(posttrans)
	begins := rpmActions[preinst]
	if begin == "" && late != "" {
		begin = ":\n" // only to leave the mark
	}
	add(rpmScript{tag: rpmheader.TagPretrans, prog: rpmheader.TagPretransProg, sense: depPretrans},
		rpmActions[pretrans], "", early, "")
	look := ""
	if names := l.unitNames(); names != "" {
		look = hiddenUnits + "hidden ''" + names + "\n"
	}
	add(rpmScript{tag: rpmheader.TagPrein, prog: rpmheader.TagPreinProg, sense: depPre},
		begins, look+l.accounts.shell(false), begin, "")
	add(rpmScript{tag: rpmheader.TagPostin, prog: rpmheader.TagPostinProg, sense: depPost},
		rpmActions[postinst], "", l.parts(postinst), "")
	add(rpmScript{tag: rpmheader.TagPreun, prog: rpmheader.TagPreunProg, sense: depPreun},
		rpmActions[prerm], rpmNoUnits, l.parts(prerm), "")
	add(rpmScript{tag: rpmheader.TagPostun, prog: rpmheader.TagPostunProg, sense: depPostun},
		rpmActions[postrm], "", l.parts(postrm), rpmPostun)
	add(rpmScript{tag: rpmheader.TagPosttrans, prog: rpmheader.TagPosttransProg, sense: depPosttrans},
		rpmActions[posttrans], rpmUnits, late, "")
	return out
}
