package plan

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"bakehouse/schema/fleet"
)

var hostile = []string{
	"plain", "", "a`b", "```", "`````\n~~~~", "</code></details><script>", "<!-- bakehouse-plan -->", "-->", "| a | b |", "@everyone", "#1 GH-2",
	"[x](https://evil.example)", "![x](//evil)", "www.evil.example", "a\r\nb", "a\rb", "\x1b[31mred", "\u202ereversed\u202c", "\u200bhidden", "a\u2028b",
	"\xff\xfe", "&#60;b&#62;", "\\`", "*_~$", " - list", "&amp;", "\x00", "\U000e0041",
}

var entity = regexp.MustCompile(`&#[0-9]+;`)

// checkEscaped says what of an escaped text could still mean something.
func checkEscaped(t *testing.T, in string) {
	t.Helper()
	out := escape(in)
	if got, want := html.UnescapeString(out), strings.ReplaceAll(visible(in, false), "\t", " "); got != want {
		t.Errorf("%q becomes %q, which reads %q, not %q", in, out, got, want)
	}
	for _, r := range entity.ReplaceAllString(out, "") {
		if r < 0x80 && !plain(byte(r)) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			t.Errorf("%q becomes %q, in which %q is left", in, out, r)
		}
	}
	if !utf8.ValidString(out) {
		t.Errorf("%q becomes %q, which is no UTF-8", in, out)
	}
}

var fenceLine = regexp.MustCompile("^ {0,3}(`{3,})[ \t]*$")

// checkFence says where a fence would end before its text does (CommonMark 0.31.2, 4.5).
func checkFence(t *testing.T, in string) {
	t.Helper()
	out := fence("diff", in)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	open := len(lines[0]) - len("diff")
	if strings.Trim(lines[0], "`") != "diff" || strings.ContainsAny(out, "\r\x00") {
		t.Errorf("%q: %q", in, out)
	}
	for i, line := range lines[1:] {
		if m := fenceLine.FindStringSubmatch(line); m != nil && len(m[1]) >= open && i != len(lines)-2 {
			t.Errorf("%q: the fence ends at line %d of %q", in, i+1, out)
		}
	}
	if lines[len(lines)-1] != strings.Repeat("`", open) {
		t.Errorf("%q: the fence does not end: %q", in, out)
	}
}

func TestHostileTextMeansNothingInMarkdown(t *testing.T) {
	for _, s := range hostile {
		checkEscaped(t, s)
		checkFence(t, s)
		checkFence(t, " "+s+"\n"+s)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkEscaped(t, s)
		checkFence(t, s)
		for _, r := range visible(s, true) {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("%q is visible as %q", s, visible(s, true))
			}
		}
	})
}

// hostileReport says s wherever the repo has a say.
func hostileReport(s string, groups, items int) *Report {
	at := fleet.Pos{File: s, Line: 1, Col: 1}
	r := &Report{Fleet: s, From: Endpoint{Name: s}, To: Endpoint{Name: s}, Notes: []string{s}, Refused: s,
		Settings: []Setting{{Name: s, Before: s, After: s, At: at}}}
	for i := range groups {
		g := Group{Kind: Repackage, Hosts: []string{fmt.Sprintf("host%d%s", i, s)}, Folder: s, Note: s, Causes: []Cause{{Plugin: s, What: s, At: at}},
			Attributes: []Setting{{Name: s, Before: s, After: s, At: at}}}
		for j := range items {
			root := ""
			if i == 0 {
				root = s + "x"
			}
			g.Items = append(g.Items, Item{Kind: ItemFile, Action: ActionChanged, Plugin: s, Name: fmt.Sprintf("/%d%s", j, s), Root: root,
				Before: &Content{Mode: "0644"}, After: &Content{Mode: "0755", Size: 1}, Diff: "@@ -1,1 +1,1 @@\n-" + s + "\n+" + s + s + "\n"})
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

func markdown(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// outside is a comment without its fences.
func outside(comment string) string {
	var b strings.Builder
	end := ""
	for line := range strings.Lines(comment) {
		switch {
		case end != "":
			if strings.TrimSpace(line) == end {
				end = ""
			}
		case strings.HasPrefix(line, "```"):
			end = strings.TrimRight(line, "dif\n")
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

func checkComment(t *testing.T, comment string) {
	t.Helper()
	if !strings.HasPrefix(comment, Marker+"\n") || strings.Count(outside(comment), "<!--") != 1 {
		t.Errorf("the marker is not the only comment: %.200q", comment)
	}
	if n := utf8.RuneCountInString(comment); n > 65_536 || len(comment) > 65_536 {
		t.Errorf("%d characters, %d bytes", n, len(comment))
	}
	free := outside(comment)
	for _, tag := range []string{"details", "summary", "code"} {
		if open, end := strings.Count(free, "<"+tag+">"), strings.Count(free, "</"+tag+">"); open != end {
			t.Errorf("%d <%s> and %d </%s>", open, tag, end, tag)
		}
	}
	if left := regexp.MustCompile(`</?(details|summary|code)>|<!-- bakehouse-plan -->`).ReplaceAllString(free, ""); strings.ContainsAny(left, "<@[") {
		i := strings.IndexAny(left, "<@[")
		t.Errorf("markup is left: %q", left[max(0, i-40):min(len(left), i+40)])
	}
}

func TestACommentOfHostileTextKeepsItsForm(t *testing.T) {
	for _, s := range hostile {
		checkComment(t, markdown(t, hostileReport(s, 2, 2)))
	}
	checkComment(t, markdown(t, hostileReport(strings.Repeat("`*_<", 1000), 40, 20)))
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, 1, 1)
	}
	f.Fuzz(func(t *testing.T, s string, groups, items int) {
		checkComment(t, markdown(t, hostileReport(s, groups&63, items&15)))
	})
}

func TestALongCommentLosesItsMiddleAndSaysSo(t *testing.T) {
	r := hostileReport(strings.Repeat("word ", 15), 400, 3)
	c := markdown(t, r)
	checkComment(t, c)
	m := regexp.MustCompile(`\*\*([0-9]+) groups of ([0-9]+) hosts left out here`).FindStringSubmatch(c)
	if m == nil {
		t.Fatalf("nothing is said of what is left out: …%s", c[len(c)-2000:])
	}
	left := 0
	fmt.Sscan(m[1], &left)
	if shown := strings.Count(outside(c), "<details>"); shown+left != 400 || shown < 20 {
		t.Errorf("%d groups shown and %s left out of 400", shown, m[1])
	}
	if !strings.Contains(c, "host0") || !strings.Contains(c, "host399") || strings.Contains(c, "host200") {
		t.Error("it is not the middle that is left out")
	}
	if !strings.HasSuffix(c, "</details>\n") {
		t.Errorf("it ends in %q", c[len(c)-100:])
	}
}

func TestATerminalIsNotSteeredByThePlan(t *testing.T) {
	for _, s := range hostile {
		var b bytes.Buffer
		if err := hostileReport(s, 2, 2).Text(&b); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("%q reaches the terminal from %q", r, s)
			}
		}
	}
}
