package status

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema/plain"
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
