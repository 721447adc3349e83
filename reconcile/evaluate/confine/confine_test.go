package confine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// small are limits that a bomb is stopped by in no time, and that leave room for all else.
var small = engine.Limits{Time: 10 * time.Second, Memory: 256 << 20, Nodes: 1 << 20, Uses: 2000}

// own is a pool of the test's own.
func own(t *testing.T) *pool {
	p := &pool{slots: make(chan struct{}, 1)}
	t.Cleanup(p.close)
	return p
}

func folder(text string) *result.Source {
	return &result.Source{Path: "hosts", Definition: "#Folder",
		Files: []result.File{{Name: "hosts/a.cue", Data: []byte(text)}}}
}

func plugin(text string) *result.Source {
	return &result.Source{Path: "plugins/p", Definition: result.PluginDefinition,
		Files: []result.File{{Name: "plugins/p/plugin.cue", Data: []byte(text)}}}
}

func TestWhatWouldEndTheProgramIsAnErrorWhereItIsWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a number of more bits than there is memory": {"package hosts\nimport \"math/bits\"\nhosts: a: {}\n" +
			"rules: files: [{value: {\n\tx: 1\n\ty: bits.Lsh(1, 1000000000000000)\n}}]\nhosts: b: labels: x: \"y\"\n",
			"hosts/a.cue:6:5: " + tooMuch},
		"two of them": {"package hosts\nimport \"math/bits\"\n_a: bits.Lsh(1, 1000000000000000)\n" +
			"_b: bits.Lsh(1, 1000000000000000)\n", "hosts/a.cue:3:5: " + tooMuch},
		"a computed size": {"package hosts\nimport \"math/bits\"\n_n: 1000000\n_a: bits.Lsh(1, _n*_n)\n",
			"hosts/a.cue:4:5: " + tooMuch},
		"in the condition of a comprehension": {"package hosts\nimport \"math/bits\"\nhosts: a: {}\n" +
			"if bits.Lsh(1, 1000000000000000) > 0 {\n\thosts: b: {}\n}\n",
			"hosts/a.cue:4:4: " + tooMuch},
	} {
		d, err := New(small).Directory(t.Context(), folder(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d.Problems.Error(); !strings.HasPrefix(got, c.want) || !d.Broken || len(d.Problems) != 1 {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestEvaluationThatTakesForEverIsAnErrorWhereItBegins(t *testing.T) {
	t.Parallel()
	l := small
	l.Time = time.Second
	e := New(l)
	e.probe.Time = time.Second
	d, err := e.Directory(t.Context(), folder("package hosts\nimport \"list\"\n_a: [1, 2]\n"+
		"_b: [for x in list.Range(0, 3000, 1) for y in list.Range(0, 100000, 1) if x*y < 0 {x}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := d.Problems.Error()
	if !strings.HasPrefix(got, "hosts/a.cue:4:") || !strings.Contains(got, "evaluation takes ") {
		t.Error(got)
	}
}

func TestAPluginThatEndsAProcessDoesNotEndOneForEachHost(t *testing.T) {
	t.Parallel()
	src := plugin("package p\nimport \"math/bits\"\nplugin: {\n\tparams: n: int | *1\n" +
		"\tfiles: \"/a\": content: \"\\(bits.Lsh(1, params.n))\"\n}\n")
	e := New(small)
	given := fleet.Value{JSON: []byte("100000000000"), Pos: fleet.Pos{File: "hosts/r.cue", Line: 3, Col: 4}}
	for range 2 {
		_, err := e.Evaluate(t.Context(), src, fleet.Inputs{}, map[string]fleet.Value{"n": given})
		var ps fleet.Problems
		if !errors.As(err, &ps) || ps[0].Pos != (fleet.Pos{File: "plugins/p/plugin.cue", Line: 5, Col: 24}) ||
			ps[0].Also[0] != given.Pos {
			t.Fatalf("%v", err)
		}
	}
	// Others are evaluated as before.
	n, err := New(small).Evaluate(t.Context(), src, fleet.Inputs{}, nil)
	if err != nil || n.Get("files").Get("/a").Get("content").Str() != "2" {
		t.Errorf("%+v, %v", n, err)
	}
}

func TestProblemsComeBackWhole(t *testing.T) {
	t.Parallel()
	src := folder("package hosts\nhosts: a: {addres: \"x\"}\nhosts: b: site: 3\n")
	want, err := engine.New(small).Directory(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	got, err := New(small).Directory(t.Context(), src)
	if err != nil || len(want.Problems) == 0 || got.Problems.Error() != want.Problems.Error() {
		t.Errorf("got %v, want %v, %v", got, want, err)
	}
}

func TestTheEnvironmentDoesNotChangeWhatCUEEvaluatesTo(t *testing.T) {
	t.Setenv("CUE_DEBUG", "what there is not")
	p := own(t)
	got, err := p.ask(t.Context(), small, folder("package hosts\nhosts: a: {}\n"), request{Op: opDirectory})
	if err != nil || got.Failed != "" || len(got.Value) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAProcessKeepsABoundedNumberOfPlugins(t *testing.T) {
	t.Parallel()
	p := own(t)
	src := plugin("package p\nplugin: files: \"/a\": content: \"x\"\n")
	for i := range 2*maxKnown + 3 {
		key := strings.Repeat("k", i%(maxKnown+1)+1)
		got, err := p.ask(t.Context(), small, src, request{Op: opEvaluate, Key: key})
		if err != nil || got.Failed != "" || len(got.Problems) > 0 {
			t.Fatalf("%d: %+v, %v", i, got, err)
		}
	}
	if n := len(p.idle); n != 1 || len(p.idle[0].known) > maxKnown {
		t.Errorf("%d processes, the first knows %d", n, len(p.idle[0].known))
	}
}

func TestAProcessEndsWithItsParentAlsoWhileItEvaluates(t *testing.T) {
	t.Parallel()
	l := small
	l.Time = time.Hour
	c, err := start(l)
	if err != nil {
		t.Fatal(err)
	}
	err = c.to.Encode(request{Op: opDirectory, Source: folder("package hosts\nimport \"list\"\n" +
		"_b: [for x in list.Range(0, 30000, 1) for y in list.Range(0, 100000, 1) if x*y < 0 {x}]\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.stdin.Close(); err != nil { // as the system does when the parent is killed
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestACancelledEvaluationIsNotBlamedOnTheFiles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	_, err := New(small).Directory(ctx, folder("package hosts\n"))
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}
