package bake

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/services"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// The steps at which a plugin's scripts run.
const (
	pretrans  = "pretrans"
	preinst   = "preinst"
	postinst  = "postinst"
	prerm     = "prerm"
	postrm    = "postrm"
	posttrans = "posttrans"
)

// What dpkg and rpm do about units is the same: functions, for which what goes before has set $root.
//
//go:embed scripts/units.sh
var syncUnits string

//go:embed scripts/hidden.sh
var hiddenUnits string

//go:embed scripts/preinst.sh
var debPreinst string

//go:embed scripts/nounits.sh
var stopUnits string

//go:embed scripts/postrm.sh
var debPostrm string

// debUnits and debNoUnits say when dpkg's scripts call them.
var (
	debUnits = "root=${DPKG_ROOT:-}\n" + hiddenUnits + syncUnits +
		"case \"$1\" in configure | abort-upgrade | abort-remove | abort-deconfigure) units ;; esac\n"
	debNoUnits = "root=${DPKG_ROOT:-}\n" + stopUnits + "case \"$1\" in remove) nounits ;; esac\n"
)

// unitsOf are the units of a plugin that are started by themselves.
func (l *layout) unitsOf(plugin string) (names []string) {
	for _, u := range l.units {
		if u.plugin == plugin && u.enable && !u.inner {
			names = append(names, u.name)
		}
	}
	return names
}

// unitList is UnitsFile: what the installer shall enable or disable, and when it has to restart it: if a line is not
// the one of the package before.
func unitList(units []unit) []byte {
	var b bytes.Buffer
	for _, u := range units {
		if u.inner {
			continue
		}
		state := "disable"
		if u.enable {
			state = "enable"
		}
		fmt.Fprintf(&b, "%s %s %s\n", u.name, u.inputs, state)
	}
	return b.Bytes()
}

// unitNames is the names of all units, quoted for a shell, each behind a blank.
func (l *layout) unitNames() string {
	var b strings.Builder
	for _, u := range l.units {
		b.WriteString(" '" + u.name + "'")
	}
	return b.String()
}

// parts are the plugins' scripts of some steps, one behind another; empty if there are none. Each runs in a subshell, so
// that its exit and its variables are its own, and fails what it is in (which has set -e) if it fails. None runs unless
// fleet.ActionVariable says what happens, in the same words in every format: what goes before has to set it.
func (l *layout) parts(steps ...string) string {
	var b strings.Builder
	for _, step := range steps {
		for _, s := range l.scripts {
			if s.step == step {
				fmt.Fprintf(&b, "# plugin %s: %s\n(\n%s\n) </dev/null\n", s.plugin, s.step, strings.TrimRight(s.text, "\n"))
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "if [ -n \"$" + fleet.ActionVariable + "\" ]; then\nexport " + fleet.ActionVariable + "\n" + b.String() + "fi\n"
}

// debActions set fleet.ActionVariable from dpkg's arguments (deb-preinst(5) and its like), and leave it empty where dpkg
// only takes something back. postinst is told of a first installation and of one after a removal differently, so preinst
// leaves a mark.
var debActions = map[string]string{
	preinst: `mark="${DPKG_ROOT:-}@STATE@/installing" BAKEHOUSE_ACTION=
case "$1" in
install)
	BAKEHOUSE_ACTION=install
	(umask 077 && mkdir -p "${DPKG_ROOT:-}@STATE@" && : >"$mark")
	;;
upgrade)
	BAKEHOUSE_ACTION=upgrade
	rm -f "$mark"
	;;
esac
`,
	postinst: `mark="${DPKG_ROOT:-}@STATE@/installing" BAKEHOUSE_ACTION=
if [ "$1" = configure ]; then
	BAKEHOUSE_ACTION=upgrade
	if [ -z "${2:-}" ] || [ -e "$mark" ]; then BAKEHOUSE_ACTION=install; fi
fi
`,
	prerm:  "case \"$1\" in remove | upgrade) BAKEHOUSE_ACTION=$1 ;; *) BAKEHOUSE_ACTION= ;; esac\n",
	postrm: "case \"$1\" in remove | upgrade) BAKEHOUSE_ACTION=$1 ;; *) BAKEHOUSE_ACTION= ;; esac\n",
}

// maintainerScripts is the scripts of a package for dpkg, as files at the root of the control archive. They do not depend
// on the units, so that all packages whose plugins bring no scripts and users share them. The part for units never fails.
func maintainerScripts(l *layout) []*file {
	early, late := l.parts(pretrans), l.parts(posttrans)
	users, begin := l.accounts.shell(false), l.parts(preinst)
	ready, before, after := l.parts(postinst), l.parts(prerm), l.parts(postrm)
	actions := map[string]string{}
	for step, text := range map[string]string{preinst: early + begin + ready + late, postinst: ready + late, prerm: before, postrm: after} {
		if text != "" {
			actions[step] = debActions[step]
		}
	}
	if ready+late != "" {
		late += "rm -f \"$mark\"\n"
	}
	vars := strings.NewReplacer("@STATE@", schema.StateDir("linux"), "@UNITS@", schema.UnitsFile("linux"))
	var out []*file
	for _, s := range []struct{ step, text string }{
		{preinst, hiddenUnits + debPreinst + early + users + begin},
		{postinst, configured(l.debDirectories()+l.capabilities(`"${DPKG_ROOT:-}"`)) + ready +
			vars.Replace(debUnits) + late},
		{prerm, vars.Replace(debNoUnits) + before},
		{postrm, after + vars.Replace(debPostrm)},
	} {
		text := vars.Replace(actions[s.step]) + s.text
		if text == "" {
			continue
		}
		f := inline(madeHere, "/"+s.step, []byte("#!/bin/sh\n# Baked by Bakehouse.\nset -e\n"+text))
		f.mode = 0o755
		out = append(out, f)
	}
	return out
}

// configured has dpkg run text when the package is being installed, and not when something is taken back.
func configured(text string) string {
	if text == "" {
		return ""
	}
	return "if [ \"$1\" = configure ]; then\n" + text + "fi\n"
}

// updaterScripts is schema.ScriptsFile, for formats without such scripts; nil if there is nothing to do. The
// updater says which step it is and what happens, and in which folder the package's files lie. In a tgz, versioned, the
// steps see to directories as well.
func updaterScripts(l *layout, versioned bool) *file {
	var b strings.Builder
	step := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%s)\n%s;;\n", name, text)
		}
	}
	step("users", l.accounts.shell(true))
	made, left := "", ""
	if versioned {
		made, left = l.tgzDirectories(), l.leaveDirectories()
	}
	caps := l.capabilities(`"$2"`)
	if caps != "" { // a sandbox gives nothing away
		caps = "[ -z \"${DPKG_ROOT:-}\" ] || exit 0\n" + caps
	}
	step("owners", made+l.owners()+caps)
	for _, name := range fleet.Steps {
		text := l.parts(name)
		if name == postrm {
			text += left
		}
		step(name, text)
	}
	if os := l.recipe.Platform.OS; services.Made(os) { // without any, too: those of the package before have to stop
		shell := services.Shell(os, schema.UnitsFile(os))
		step("services", shell+"services\n")
		step("noservices", shell+"noservices\n")
	}
	if b.Len() == 0 {
		return nil
	}
	return inline("updater", schema.ScriptsFile(l.recipe.Platform.OS), []byte("# Baked by Bakehouse. The updater runs it: STEP FOLDER.\nset -e\ncase \"$1\" in\n"+b.String()+"esac\n"))
}

// owners is shell text that gives files in the folder $2 to others than root. A sandbox has no users of its own.
func (l *layout) owners() string {
	var b strings.Builder
	group := "root"
	if l.recipe.Platform.OS != "linux" {
		group = "0" // which has other names there: wheel, system
	}
	for _, files := range slices.Concat(l.shared, [][]*file{l.own}) {
		for _, f := range files {
			if f.owner+f.group != "" && f.mode.IsRegular() {
				fmt.Fprintf(&b, "chown %s:%s \"$2\"%s\n", cmp.Or(f.owner, "root"), cmp.Or(f.group, group),
					quoted(f.path))
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "[ -z \"${DPKG_ROOT:-}\" ] || exit 0\n" + b.String()
}

//go:embed scripts/directories.sh
var directoriesShell string

// debDirectories gives the package's own directories their mode and owner, and tgzDirectories makes them, too. dpkg
// leaves a directory that was there as it was, and a version of a tgz is put in place by links to files. rpm and pkgadd
// need no help. Both are shell text, empty if there is none, for which $root is the folder that stands for /.
func (l *layout) debDirectories() string {
	if len(l.directories) == 0 {
		return ""
	}
	return "root=${DPKG_ROOT:-}\n" + directoriesShell + l.eachDirectory("directory", "root") + "\n"
}

func (l *layout) tgzDirectories() string {
	if len(l.directories) == 0 {
		return ""
	}
	group := "root"
	if l.recipe.Platform.OS != "linux" {
		group = "0" // which has other names there: wheel, system
	}
	return "root=${DPKG_ROOT:-}\n" + directoriesShell + l.eachDirectory("make_directory", group)
}

func (l *layout) eachDirectory(call, root string) string {
	var b strings.Builder
	for _, d := range l.directories {
		fmt.Fprintf(&b, "%s %04o %s:%s %s\n", call, d.mode.Perm(), cmp.Or(d.owner, "root"), cmp.Or(d.group, root),
			quoted(d.path))
	}
	return b.String()
}

// leaveDirectories takes away, after an update, the directories that the next version has not, unless something is in
// them.
func (l *layout) leaveDirectories() string {
	var b strings.Builder
	for _, d := range slices.Backward(l.directories) {
		fmt.Fprintf(&b, "[ -d \"$root%s/current\"%s ] || rmdir \"$root\"%[2]s 2>/dev/null || true\n", schema.VersionDir,
			quoted(d.path))
	}
	if b.Len() == 0 {
		return ""
	}
	return "root=${DPKG_ROOT:-}\n" + b.String()
}

// capable are the files with capabilities, by path.
func (l *layout) capable() (files []*file) {
	for _, group := range slices.Concat(l.shared, [][]*file{l.own}) {
		for _, f := range group {
			if len(f.caps) > 0 {
				files = append(files, f)
			}
		}
	}
	slices.SortFunc(files, byPath)
	return files
}

// capabilities is shell text that gives files in a folder theirs: no archive but an rpm carries them. It comes behind
// what gives the files to their owners, which takes capabilities away.
func (l *layout) capabilities(folder string) string {
	var b strings.Builder
	for _, f := range l.capable() {
		fmt.Fprintf(&b, "setcap %s=ep %s%s\n", strings.Join(f.caps, ","), folder, quoted(f.path))
	}
	if b.Len() == 0 {
		return ""
	}
	return "command -v setcap >/dev/null 2>&1 || {\n" +
		"\techo 'error: a file of this package needs capabilities, and there is no setcap here: install libcap2-bin, " +
		"or libcap' >&2\n\texit 75\n}\n" + b.String()
}

// quoted is a path as one word of a shell.
func quoted(p string) string { return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'" }

// absoluteLinks turns links' targets to absolute ones. A version of a tgz lies in a folder of its own, to which the
// paths of its files are links: there, a relative target would lead elsewhere.
func absoluteLinks(groups ...[]*file) {
	for _, files := range groups {
		for i, f := range files {
			if f.isLink() && !path.IsAbs(f.link) {
				to := *f
				to.link = path.Join(path.Dir(f.path), f.link)
				files[i] = &to
			}
		}
	}
}
