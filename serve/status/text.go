package status

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/plain"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// functions are what templates write with. Those that return template.HTML make it of their own text, numbers and times
// alone.
var functions = template.FuncMap{
	"asset":   assetURL,
	"icon":    icon,
	"n":       number,
	"percent": percent,
	"ago":     func(now, t time.Time) template.HTML { return when(now, t, "") },
	"agotab":  func(now, t time.Time) template.HTML { return when(now, t, ` tabindex="0"`) },
	"utc":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"day":     day,
	"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
	"size":    size,
	"line":    func(limit int, s string) string { return plain.Line(s, limit) },
	"lines":   func(limit int, s string) string { return plain.Lines(s, limit) },
	"words":   strings.Fields,
	"plural":  plural,
	"capital": capital,
	"join":    func(s []string) string { return strings.Join(s, ", ") },
	"add":     func(a, b int) int { return a + b },
	"cut":     func(n int, s string) string { return s[:min(n, len(s))] },
	"deref":   func(n *int) int { return *n },
	"cmd":     func(lines ...string) command { return command{Lines: lines} },
	"root":    func(lines ...string) command { return command{Lines: lines, Root: true} },
	"cmdOf":   func(line string, root bool) command { return command{[]string{line}, root} },

	"state":       state,
	"stateCell":   stateCell,
	"hash":        hashCell,
	"target":      targetCell,
	"whyOf":       whyOf,
	"ill":         ill,
	"markWord":    func(m hosts.Mark) string { return markWords[m] },
	"lookOf":      func(s hosts.State) look { return looks[s] },
	"gateLook":    gateLook,
	"ringState":   ringState,
	"rollout":     rollout,
	"findingLook": func(s string) look { return findingLooks[s] },
	"answerLook":  func(s string) look { return answerLooks[s] },
	"answerWord":  func(s string) string { return answerWords[s] },
	"stepsOf":     stepsOf,
	"upToDate":    func(t view.Tally) int { return t.Of(hosts.UpToDate) },
	"tallyWords":  inWords,
	"fullBar":     fullBar,
	"thinBar":     thinBar,
	"versionBar":  versionBar,
	"releaseBar":  releaseBar,
	"hostsWith":   hostsWith,
	"lookURL":     func() string { return lookURL },
	"query":       func(s string) template.URL { return template.URL(s) }, // that this server wrote
}

// number writes thousands with a comma.
func number(n int) string {
	s := strconv.Itoa(n)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is a number with the word that fits it.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// percent has one digit. 100 % is all, and 0 % is none.
func percent(part, whole int) string {
	switch p := 100 * float64(part) / float64(whole); {
	case whole == 0 || part == 0:
		return "0 %"
	case part == whole:
		return "100 %"
	case p < 0.1:
		return "< 0.1 %"
	case p > 99.9:
		return "> 99.9 %"
	default:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
}

// span is a time from now, either way, in the largest unit of which there are enough to tell them apart.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(math.Round(d.Minutes())))
	case d < 36*time.Hour:
		return fmt.Sprintf("%d h", int(math.Round(d.Hours())))
	}
	return fmt.Sprintf("%s days", number(int(math.Round(d.Hours()/24))))
}

// relative is when t is, from now.
func relative(now, t time.Time) string {
	if t.After(now.Add(time.Second)) {
		return "in " + span(t.Sub(now))
	}
	return span(now.Sub(t)) + " ago"
}

// when is a time element: relative, with the exact time for whoever points at it.
func when(now, t time.Time, attributes string) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `"` + attributes + `>` +
		relative(now, t) + `</time>`)
}

// day is a date as sentences write it; the year is told if it is another.
func day(now, t time.Time) string {
	layout := "2 Jan 15:04"
	if t = t.UTC(); t.Year() != now.UTC().Year() {
		layout = "2 Jan 2006"
	}
	return t.Format(layout)
}

// size writes bytes in units of a thousand.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	f, i := float64(n), 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	if i == 0 || f >= 99.95 {
		return strconv.FormatFloat(f, 'f', 0, 64) + " " + units[i]
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[i]
}

// icon is a symbol of base.html in a tone; the words beside it say the same.
func icon(name, tone string) template.HTML {
	if tone != "" {
		tone = " t-" + tone
	}
	return template.HTML(`<svg class="ic` + tone + `" aria-hidden="true"><use href="#i-` + name + `"/></svg>`)
}

// look is how a state of something is shown.
type look struct{ Icon, Tone, Bar, Pattern string }

// looks are of hosts' states. The patterns tell parts of a bar apart that have one colour.
var looks = map[hosts.State]look{
	hosts.UpToDate:     {"ok", "ok", "b-ok", ""},
	hosts.Updating:     {"go", "go", "b-go", ""},
	hosts.Waiting:      {"pause", "mute", "b-held", "hatch"},
	hosts.NotKnown:     {"ask", "mute", "b-held", "hatch"},
	hosts.Withheld:     {"hand", "wait", "b-wait", ""},
	hosts.Blocked:      {"bar", "wait", "b-wait", ""},
	hosts.Overdue:      {"clock", "wait", "b-wait", ""},
	hosts.Failed:       {"fail", "bad", "b-bad", ""},
	hosts.Rejected:     {"shield", "bad", "b-bad", ""},
	hosts.Unregistered: {"plus", "mute", "b-held", "dots"},
	hosts.NotInGit:     {"minus", "", "b-held", "dots"},
}

// ringLooks are of the states of rings and gates.
var ringLooks = map[string]look{
	view.RingDone:    {Icon: "ok", Tone: "ok"},
	view.RingOpen:    {Icon: "go", Tone: "go"},
	view.RingWaiting: {Icon: "pause", Tone: "mute"},
	view.RingHalted:  {Icon: "stop", Tone: "bad"},
}

var verdictLooks = map[string]look{
	view.VerdictOff:       {Icon: "stop", Tone: "bad"},
	view.VerdictHalted:    {Icon: "stop", Tone: "bad"},
	view.VerdictTrouble:   {Icon: "warn", Tone: "wait"},
	view.VerdictAttention: {Icon: "go", Tone: "go"},
	view.VerdictOnTrack:   {Icon: "go", Tone: "go"},
	view.VerdictInStep:    {Icon: "ok", Tone: "ok"},
	view.VerdictNotInStep: {Icon: "warn", Tone: "wait"},
}

var rolloutLooks = map[string]look{
	"done":       {Icon: "ok", Tone: "ok"},
	"rolling":    {Icon: "go", Tone: "go"},
	"halted":     {Icon: "stop", Tone: "bad"},
	"revoked":    {Icon: "stop", Tone: "bad"},
	"superseded": {Icon: "minus", Tone: "mute"},
}

var rolloutWords = map[string]string{"done": "Done", "rolling": "Rolling out", "halted": "Halted",
	"revoked": "Revoked", "superseded": "Superseded"}

var findingLooks = map[string]look{
	schema.LevelHolds:   {Icon: "ok", Tone: "ok"},
	schema.LevelSoon:    {Icon: "warn", Tone: "wait"},
	schema.LevelMissing: {Icon: "warn", Tone: "wait"},
}

var answerLooks = map[string]look{
	view.Yes:      {Icon: "ok", Tone: "ok"},
	view.No:       {Icon: "fail", Tone: "bad"},
	view.NotAsked: {Icon: "rest", Tone: "mute"},
}

var answerWords = map[string]string{view.Yes: "Yes", view.No: "No", view.NotAsked: "Not asked"}

var markWords = map[hosts.Mark]string{hosts.Drift: "drift", hosts.Paused: "paused", hosts.Cloned: "cloned",
	hosts.RolledBack: "rolled back"}

// state is a host's state in icon, word and colour.
func state(s hosts.State) template.HTML {
	l := looks[s]
	return template.HTML(`<span class="st t-`+l.Tone+`">`) + icon(l.Icon, "") +
		template.HTML(template.HTMLEscapeString(s.Word())+`</span>`)
}

// command is one to copy.
type command struct {
	Lines []string
	Root  bool // on a host
}

// step is something to do, and where from.
type step struct{ view.Step }

// Run is the step's command.
func (s step) Run() command { return command{[]string{s.Command}, s.OnHost} }

// Ends says that the text has a mark at its end.
func (s step) Ends() bool { return strings.HasSuffix(s.Text, ".") || strings.HasSuffix(s.Text, ":") }

func stepsOf(all []view.Step) (steps []step) {
	for _, s := range all {
		steps = append(steps, step{s})
	}
	return steps
}

// targetCell is the cell with the hash of what a host should have.
func targetCell(d schema.Digest) template.HTML { return hashCell(d, schema.Digest{}) }

// hashCell is a cell of the table of hosts: a hash, and whether it is the one that a host should have, if there is one.
func hashCell(d, target schema.Digest) template.HTML {
	switch {
	case d.IsZero():
		return `<td></td>`
	case target.IsZero():
		return template.HTML(`<td>` + d.Hex()[:8] + `</td>`)
	case d == target:
		return template.HTML(`<td class="eq">` + d.Hex()[:8] + `</td>`)
	}
	return template.HTML(`<td class="ne">` + d.Hex()[:8] + `</td>`)
}

// stateCell is the cell with a host's state and its marks.
func stateCell(s hosts.State, marks []hosts.Mark) template.HTML {
	l := looks[s]
	b := `<td class="st t-` + l.Tone + `">` + string(icon(l.Icon, "")) + template.HTMLEscapeString(s.Word())
	for _, m := range marks {
		b += ` <span class="mark">` + template.HTMLEscapeString(markWords[m]) + `</span>`
	}
	return template.HTML(b + "</td>")
}

// maxWhy is how much of what a host says a table has, in bytes.
const maxWhy = 200

// whyOf is why a host is where it is, for a line of a table.
func whyOf(r hosts.Row) string {
	switch why, said := capital(plain.Line(r.Why, maxWhy)), plain.Line(r.Error, maxWhy); {
	case r.State == hosts.UpToDate && said == "":
		return ""
	case said == "" || strings.Contains(why, said):
		return why
	case why == "" || r.State == hosts.UpToDate || sameStart(why, said):
		return said
	default:
		return plain.Line(why+": "+said, maxWhy)
	}
}

// sameStart says that two texts begin alike: the one is the longer form of the other.
func sameStart(a, b string) bool {
	n := min(len(a), len(b), 16)
	return strings.EqualFold(a[:n], b[:n])
}

// ill says that somebody has to see to hosts in this state.
func ill(s hosts.State) bool { return looks[s].Tone == "wait" || looks[s].Tone == "bad" }

func versionBar(v view.Version, total int) shareBar {
	class, pattern := "b-held", "hatch"
	if v.Newest {
		class, pattern = "b-ok", ""
	}
	return oneBar(class, pattern, percent(v.Hosts, total), v.Hosts, total)
}

func releaseBar(r view.ReleaseRow, run int) shareBar {
	class, pattern := "b-ok", ""
	if r.Rollout == "halted" || r.Rollout == "revoked" {
		class, pattern = "b-held", "hatch"
	}
	return oneBar(class, pattern, plural(r.Hosts, "host", "hosts"), r.Hosts, run)
}

func rollout(code string) template.HTML {
	l, ok := rolloutLooks[code]
	if !ok {
		return ""
	}
	return template.HTML(`<span class="st t-`+l.Tone+`">`) + icon(l.Icon, "") +
		template.HTML(rolloutWords[code]+`</span>`)
}

// gateLook is of a gate, which is done when it is open.
func gateLook(state string) look {
	if state == view.RingOpen {
		state = view.RingDone
	}
	return ringLooks[state]
}

func ringState(code string) template.HTML {
	l, ok := ringLooks[code]
	if !ok {
		return ""
	}
	return template.HTML(`<span class="st t-`+l.Tone+`">`) + icon(l.Icon, "") + template.HTML(capital(code)+`</span>`)
}

// Svg is the icon of a look, in its colour.
func (l look) Svg() template.HTML { return icon(l.Icon, l.Tone) }

// capital is s with its first letter in upper case.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
