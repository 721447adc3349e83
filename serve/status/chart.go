package status

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// leastPart is the share of a bar, in percent, that a part has which is not zero, so that it is seen.
const leastPart = 0.9

// shareBar is what the template "share" draws: parts from left to right, in percent of the width.
type shareBar struct {
	Label string // the true numbers
	Thin  bool
	Parts []barPart
}

type barPart struct {
	Class, Pattern string
	X, Width       string // such as "12.50%"
}

func thinBar(t view.Tally) shareBar { return barOf(t, true) }
func fullBar(t view.Tally) shareBar { return barOf(t, false) }

func barOf(t view.Tally, thin bool) shareBar {
	b := shareBar{Label: inWords(t) + " of " + number(t.Total), Thin: thin}
	counts := make([]int, len(t.States))
	for i, c := range t.States {
		counts[i] = c.Hosts
	}
	x := 0.0
	for i, width := range widths(counts, t.Total) {
		if width > 0 {
			l := looks[t.States[i].State]
			b.Parts = append(b.Parts, barPart{l.Bar, l.Pattern, inPercent(x), inPercent(width)})
			x += width
		}
	}
	return b
}

// oneBar is part of whole, in one colour.
func oneBar(class, pattern, label string, part, whole int) shareBar {
	b := shareBar{Label: label, Thin: true}
	if part > 0 && whole > 0 {
		width := math.Max(leastPart, 100*float64(part)/float64(whole))
		b.Parts = []barPart{{Class: class, Pattern: pattern, X: inPercent(0), Width: inPercent(math.Min(100, width))}}
	}
	return b
}

func inPercent(f float64) string { return fmt.Sprintf("%.2f%%", f) }

// widths are the shares of counts in percent. What is smaller than leastPart gets that, at the cost of the others.
func widths(counts []int, total int) []float64 {
	w := make([]float64, len(counts))
	if total <= 0 {
		return w
	}
	missing, large := 0.0, 0.0
	for i, c := range counts {
		w[i] = 100 * float64(c) / float64(total)
		switch {
		case c > 0 && w[i] < leastPart:
			missing += leastPart - w[i]
			w[i] = leastPart
		case w[i] > 2*leastPart:
			large += w[i]
		}
	}
	for i := range w {
		if w[i] > 2*leastPart {
			w[i] -= missing * w[i] / large
		}
	}
	return w
}

// inWords are the counts that are not zero: "212 up to date, 1 failed".
func inWords(t view.Tally) string {
	var parts []string
	for _, c := range t.States {
		if c.Hosts > 0 {
			parts = append(parts, number(c.Hosts)+" "+strings.ToLower(c.State.Word()))
		}
	}
	if len(parts) == 0 {
		return "no hosts"
	}
	return strings.Join(parts, ", ")
}

// chart is how many hosts were up to date with a release over time. Its parts are drawn at percentages of the width, so
// that text keeps its size; only the curve is stretched.
type chart struct {
	Release    int64
	Label      string
	Span       string
	Rules      []chartRule
	Marks      []chartMark
	Area, Line string // paths in 1000 by plotHeight
	Last       string
	LastY      int
	Times      []chartTime
	Rows       []view.Point
}

type chartRule struct {
	Y, TextY int
	Label    string
}

type chartMark struct{ X, Label string }

type chartTime struct{ X, Anchor, Label string }

// Geometry of the chart, in pixels and percent.
const (
	plotTop    = 20
	plotHeight = 120
	plotLeft   = 10.0 // percent, for the labels of the rules
	maxPoints  = 120
	tableRows  = 12
)

// newChart is nil if there is nothing to draw yet: two points make a line.
func newChart(series []view.Point, rings []view.Ring, now time.Time) *chart {
	if len(series) == 0 {
		return nil
	}
	newest := series[len(series)-1].Release
	first := slices.IndexFunc(series, func(p view.Point) bool { return p.Release == newest })
	points := series[first:]
	if len(points) < 2 || !points[len(points)-1].At.After(points[0].At) {
		return nil
	}
	last := points[len(points)-1]
	top := 1
	for _, p := range points {
		top = max(top, p.Total, p.Hosts)
	}
	scale := niceTop(top)
	start, length := points[0].At, last.At.Sub(points[0].At)
	c := &chart{Release: newest, Span: "last " + span(now.Sub(start)), Last: number(last.Hosts),
		Rows: thinned(points, tableRows)}
	across := func(t time.Time) float64 { return float64(t.Sub(start)) / float64(length) }
	down := func(hosts int) float64 { return plotHeight * (1 - float64(hosts)/float64(scale)) }
	for _, part := range []int{0, scale / 2, scale} {
		y := plotTop + int(math.Round(down(part)))
		c.Rules = append(c.Rules, chartRule{Y: y, TextY: y + 4, Label: inShort(part)})
	}
	var line strings.Builder
	for i, p := range thinned(points, maxPoints) {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&line, "%s%.0f %.1f", command, 1000*across(p.At), down(p.Hosts))
	}
	c.Line = line.String()
	c.Area = fmt.Sprintf("%sV%dH0z", c.Line, plotHeight)
	c.LastY = max(10, plotTop+int(down(last.Hosts))-8)
	story := []string{}
	free := -1.0
	for _, r := range rings {
		if x := across(r.Opened); !r.Opened.IsZero() && x >= 0 && x <= 1 {
			story = append(story, r.Name+" opened "+relative(now, r.Opened))
			mark := chartMark{X: inPercent(plotLeft + (100-plotLeft)*x)}
			if x > free { // labels that would touch are left out
				mark.Label = r.Name
				free = x + .02 + .018*float64(len(r.Name))
			}
			c.Marks = append(c.Marks, mark)
		}
	}
	middle := start.Add(length / 2)
	c.Times = []chartTime{{inPercent(plotLeft), "start", start.UTC().Format("2 Jan 15:04")},
		{inPercent((100 + plotLeft) / 2), "middle", middle.UTC().Format("2 Jan 15:04")}, {"100%", "end", "now"}}
	c.Label = fmt.Sprintf("Hosts on release %d: %s now, of %s.", newest, number(last.Hosts), number(last.Total))
	if len(story) > 0 {
		c.Label += " " + capital(strings.Join(story, ", ")) + "."
	}
	return c
}

// thinned are at most n points, with the first and the last.
func thinned(points []view.Point, n int) []view.Point {
	if len(points) <= n {
		return points
	}
	some := make([]view.Point, n)
	for i := range some {
		some[i] = points[i*(len(points)-1)/(n-1)]
	}
	return some
}

// niceTop is a round number from n up, half of which is round, too.
func niceTop(n int) int {
	if n <= 2 {
		return 2
	}
	unit := int(math.Pow10(int(math.Log10(float64(n)))))
	for _, tenths := range []int{10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100} {
		if top := tenths * unit / 10; top >= n && top%2 == 0 {
			return top
		}
	}
	return 20 * unit
}

// inShort is a number as rules are labelled: 50k.
func inShort(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return fmt.Sprintf("%gM", float64(n)/1_000_000)
	case n >= 1000 && n%100 == 0:
		return fmt.Sprintf("%gk", float64(n)/1000)
	}
	return number(n)
}

// maxPath is how many rings the verdict names.
const maxPath = 6

// ringPath is the rings as the verdict lists them.
func ringPath(rings []view.Ring, now time.Time) (path []pathRing) {
	for _, r := range rings {
		if r.Name == "" {
			continue
		}
		p := pathRing{Name: r.Name, Look: ringLooks[r.State], Word: capital(r.State),
			Text: percent(r.Tally.Of(hosts.UpToDate), r.Tally.Total)}
		if r.State == view.RingWaiting && r.NotBefore.After(now) {
			p.NotBefore, p.Text = r.NotBefore, ""
		}
		path = append(path, p)
	}
	return path
}

type pathRing struct {
	Name, Word, Text string
	Look             look
	NotBefore        time.Time
}
