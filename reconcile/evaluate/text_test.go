package evaluate

import (
	"strings"
	"testing"
)

func TestTextThatWasNotWrittenAsCUESaysSo(t *testing.T) {
	utf16 := func(s string) string {
		var b strings.Builder
		b.WriteString("\xff\xfe")
		for _, c := range []byte(s) {
			b.WriteByte(c)
			b.WriteByte(0)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ file, text, want string }{
		"an empty fleet.cue": {"fleet.cue", "",
			"fleet.cue:1:1: the file is empty\n\thint: start the file with `package fleet`"},
		"a fleet.cue that says nothing": {"fleet.cue", "\n// later\npackage fleet\n",
			"fleet.cue:3:9: name is missing"},
		"UTF-16 from another shell": {"hosts/a.cue", utf16("package hosts\n"),
			"hosts/a.cue:1:1: is UTF-16, not UTF-8\n\thint: save the file as UTF-8"},
		"UTF-16 without a mark": {"hosts/a.cue", utf16("package hosts\n")[2:], "hosts/a.cue:1:1: is UTF-16, not UTF-8"},
		"Latin-1": {"hosts/a.cue", "package hosts\n// M\xfcnchen\n",
			"hosts/a.cue:2:5: is not UTF-8: byte 0xfc\n\thint: save the file as UTF-8"},
		"smart quotes": {"hosts/a.cue", "package hosts\nhosts: web02: site: “central”\n",
			"hosts/a.cue:2:21: “ (U+201C) is not a character of CUE\n\t" +
				"hint: strings are in straight quotation marks: \"…\""},
		"a space that does not break": {"hosts/a.cue", "package hosts\nhosts:\u00a0web02: {}\n",
			"hosts/a.cue:2:7: \u00a0 (U+00A0) is not a character of CUE\n\thint: it is invisible"},
		"YAML with nested maps": {"hosts/a.cue", "hosts:\n  web02:\n    site: central\n",
			"hosts/a.cue:1:1: \"hosts:\" looks like YAML, and the file is read as CUE\n\thint: CUE writes {…}"},
		"YAML with a list": {"hosts/a.cue", "# mine\nrules:\n- updater: {}\n",
			"hosts/a.cue:3:1: \"- updater: …\" looks like YAML"},
		"YAML in the flow style that is CUE by chance": {"hosts/a.cue", "hosts: {web02: {}}\n",
			"hosts/a.cue:1:1: no package clause"},
		"a hyphen in a label": {"hosts/a.cue", "package hosts\nhosts: web-03: {}\n",
			"hosts/a.cue:2:8: the name web-03 has to be in quotation marks\n\thint: write \"web-03\", since"},
		"a label that begins with a digit": {"hosts/a.cue", "package hosts\nhosts: {x: {}, 3web: {}}\n",
			"hosts/a.cue:2:16: the name 3web has to be in quotation marks"},
		"an address without quotation marks": {"hosts/a.cue", "package hosts\nhosts: web03: {address: 10.1.0.7}\n",
			"hosts/a.cue:2:25: this text has to be in quotation marks"},
		"a duration without quotation marks": {"hosts/a.cue",
			"package hosts\nrules: updater: [{value: interval: 10m}]\n",
			"hosts/a.cue:2:36: this text has to be in quotation marks"},
		"a URL without quotation marks": {"hosts/a.cue",
			"package hosts\nrules: updater: [{value: server: https://b.example}]\n", "hosts/a.cue:2:"},
		"a comment of a shell's": {"hosts/a.cue", "package hosts\n# the web servers\nhosts: web02: {}\n",
			"hosts/a.cue:2:1: a comment does not begin with #\n\thint: write //"},
		"a comment of a shell's at the end": {"hosts/a.cue", "package hosts\nhosts: web02: {} # the first\n",
			"hosts/a.cue:2:18: a comment does not begin with #"},
		"an octal number of C's": {"plugins/p/plugin.cue",
			"package p\nplugin: files: \"/x\": {content: \"#\", mode: 0755}\n",
			"plugins/p/plugin.cue:2:43: 0755 is not a number of CUE\n\thint: an octal number begins with 0o: 0o755"},
		"a mode in quotation marks": {"hosts/a.cue",
			"package hosts\nrules: files: [{value: files: \"/x\": {content: \"x\", mode: \"0755\"}}]\n",
			"hosts/a.cue:2:52: files.files.\"/x\".mode: \"0755\" is a string, not an int"},
		"hosts at the top": {"fleet.cue", "package fleet\nname: \"f\"\nurl: \"https://b.example\"\nhosts: web03: {}\n",
			"fleet.cue:4:1: hosts: unknown field hosts\n\thint: hosts is written in files below hosts/"},
		"a mistake beside quotes in a string": {"hosts/a.cue", "package hosts\nhosts: web02: {address: \"“\" \"”\"}\n",
			"hosts/a.cue:2:"},
	} {
		t.Run(name, func(t *testing.T) {
			got := refused(t, repo(map[string]string{c.file: c.text}))
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if strings.Contains(name, "in a string") && strings.Contains(got, "U+") {
				t.Errorf("quotes in a string are in order:\n%s", got)
			}
		})
	}
}

func TestAServerWithoutTLSIsWarnedOfWhereItIsWritten(t *testing.T) {
	r := loaded(t, repo(map[string]string{
		"fleet.cue":       "package fleet\nname: \"f\"\nurl: \"http://b.example\"\n",
		"sites/sites.cue": "package sites\nsites: {a: url: \"https://a.example\", b: url: \"http://b.example:81\"}\n",
		"hosts/a.cue":     "package hosts\nrules: updater: [{value: server: \"http://c.example\"}]\n",
	}))
	var got []string
	for _, w := range r.Fleet.Warnings {
		if strings.Contains(w.Msg, "without TLS") {
			got = append(got, w.Pos.String()+" "+w.Msg[:strings.Index(w.Msg, ": ")])
		}
	}
	want := "fleet.cue:3:1 http://b.example, hosts/a.cue:2:26 http://c.example, " +
		"sites/sites.cue:2:41 http://b.example:81"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
}
