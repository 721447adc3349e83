// Package metrics counts what a server answers, and writes that and what else Prometheus reads in its text format.
// There
// is no library behind it: a registry, collectors and their protocol would be the larger part of it.
package metrics

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// bounds are the upper ones of the buckets of durations, in seconds.
var bounds = [...]float64{.001, .005, .01, .05, .1, .5, 1, 5, 30}

// Requests counts answers by route and status. The zero value is empty. It is safe for concurrent use.
type Requests struct {
	mu     sync.Mutex
	routes map[string]*route
}

type route struct {
	codes   map[int]int64
	buckets [len(bounds) + 1]int64
	seconds float64
	count   int64
	bytes   int64
}

// Add counts an answer. name is the pattern of a route, of which there are few.
func (r *Requests) Add(name string, code int, took time.Duration, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.routes[name]
	if one == nil {
		if r.routes == nil {
			r.routes = map[string]*route{}
		}
		one = &route{codes: map[int]int64{}}
		r.routes[name] = one
	}
	one.codes[code]++
	seconds := took.Seconds()
	i, _ := slices.BinarySearch(bounds[:], seconds)
	one.buckets[i]++
	one.seconds += seconds
	one.count++
	one.bytes += bytes
}

// Write writes the counters; polls is the route of polls.
func (r *Requests) Write(t *Text, polls string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Begin("bakehouse_polls_total", "counter", "Polls of hosts.")
	n := int64(0)
	if one := r.routes[polls]; one != nil {
		n = one.count
	}
	t.Add(float64(n))
	names := slices.Sorted(maps.Keys(r.routes))
	t.Begin("bakehouse_requests_total", "counter", "Answers, by route and status.")
	for _, name := range names {
		for _, code := range slices.Sorted(maps.Keys(r.routes[name].codes)) {
			t.Add(float64(r.routes[name].codes[code]), "route", name, "code", strconv.Itoa(code))
		}
	}
	t.Begin("bakehouse_sent_bytes_total", "counter", "Bytes of bodies that were sent, by route.")
	for _, name := range names {
		t.Add(float64(r.routes[name].bytes), "route", name)
	}
	t.Begin("bakehouse_request_duration_seconds", "histogram", "Time from a request's head to the end of its answer.")
	for _, name := range names {
		one, sum := r.routes[name], int64(0)
		for i, n := range one.buckets {
			sum += n
			le := "+Inf"
			if i < len(bounds) {
				le = strconv.FormatFloat(bounds[i], 'g', -1, 64)
			}
			t.line("_bucket", float64(sum), "route", name, "le", le)
		}
		t.line("_sum", one.seconds, "route", name)
		t.line("_count", float64(one.count), "route", name)
	}
}

// Text is Prometheus' text format. Make it with the zero value.
type Text struct {
	b    strings.Builder
	name string
}

// Begin starts a metric: its name, its type (counter, gauge, histogram), and what it is.
func (t *Text) Begin(name, kind, help string) {
	t.name = name
	t.b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// Add adds a value of the metric, with pairs of a label and its value.
func (t *Text) Add(value float64, labels ...string) { t.line("", value, labels...) }

// Gauge is a metric with one value.
func (t *Text) Gauge(name, help string, value float64) {
	t.Begin(name, "gauge", help)
	t.Add(value)
}

// Time is a value that is a time, in seconds since 1970; a zero one is left out.
func (t *Text) Time(at time.Time, labels ...string) {
	if !at.IsZero() {
		t.Add(float64(at.Unix()), labels...)
	}
}

var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func (t *Text) line(suffix string, value float64, labels ...string) {
	t.b.WriteString(t.name + suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		t.b.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + labels[i] + `="`)
		_, _ = escaper.WriteString(&t.b, strings.ToValidUTF8(labels[i+1], "?")) // into memory
		t.b.WriteByte('"')
	}
	t.b.WriteString(map[bool]string{true: "} ", false: " "}[len(labels) > 0])
	t.b.WriteString(strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// WriteTo writes all of it.
func (t *Text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, t.b.String())
	return int64(n), err
}

// ContentType is that of Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Truth is 1 for true.
func Truth(b bool) float64 { return cmp.Or(map[bool]float64{true: 1}[b], 0) }
