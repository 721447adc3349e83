package needs_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bakehouse/schema/needs"
)

// ended is how a test comes to its end before it has begun.
type ended string

// recorder is a test that only notes its end.
type recorder struct{ testing.TB }

func (recorder) Helper() {}

func (recorder) Skip(args ...any) { panic(ended("skipped: " + fmt.Sprint(args...))) }

func (r recorder) Skipf(format string, args ...any) { r.Skip(fmt.Sprintf(format, args...)) }

func (recorder) Fatalf(format string, args ...any) {
	panic(ended("failed: " + fmt.Sprintf(format, args...)))
}

// outcome is how a test ends that needs something.
func outcome(need func(t testing.TB)) (how string) {
	defer func() {
		if e, ok := recover().(ended); ok {
			how = string(e)
		}
	}()
	need(recorder{})
	return "runs"
}

// proxied fails as a go command that may not download does.
const proxied = `[ "$GOPROXY" != off ] || { echo GOPROXY=off >&2; exit 1; }`

func shell(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }

const noSuchTool = "bakehouse-no-such-tool"

func TestWhatIsMissingSkipsATestAndFailsItWhereEverythingIsPromised(t *testing.T) {
	for _, c := range []struct {
		what         string
		need         func(testing.TB)
		plain, every string // how the test ends without the variable, and with it
	}{
		{"a program that is missing", func(t testing.TB) { needs.Tool(t, noSuchTool) },
			"skipped: " + noSuchTool + " is not installed",
			"failed: " + noSuchTool + " is not installed, but BAKEHOUSE_TEST_ALL is set"},
		{"one of several", func(t testing.TB) { needs.Tools(t, "go", noSuchTool) },
			"skipped: " + noSuchTool, "failed: " + noSuchTool},
		{"programs that are there", func(t testing.TB) { needs.Tools(t, "go") }, "runs", "runs"},
		{"a machine to boot", func(t testing.TB) { needs.All(t, "boots a host") },
			"skipped: this test boots a host: only with BAKEHOUSE_TEST_ALL=1", "runs"},
		{"a module that would have to be downloaded", func(t testing.TB) { needs.Go(t, shell(proxied)) },
			"skipped: a module is not on this machine: GOPROXY=off", "runs"},
		{"a go command that fails", func(t testing.TB) { needs.Go(t, shell("echo broken >&2; exit 1")) },
			`failed: ["sh" "-c"`, `failed: ["sh" "-c"`},
		{"something else", func(t testing.TB) { needs.Missing(t, "no %s", "overlay") },
			"skipped: no overlay", "failed: no overlay, but"},
	} {
		for value, want := range map[string]string{"": c.plain, "1": c.every} {
			t.Setenv("BAKEHOUSE_TEST_ALL", value)
			if got := outcome(c.need); !strings.HasPrefix(got, want) {
				t.Errorf("%s, with BAKEHOUSE_TEST_ALL=%q: %q, want %q", c.what, value, got, want)
			}
		}
	}
}

func TestOnlyRootIsRoot(t *testing.T) {
	t.Setenv("BAKEHOUSE_TEST_ALL", "")
	want := "skipped: mounting takes root"
	if os.Geteuid() == 0 {
		want = "runs"
	}
	if got := outcome(func(t testing.TB) { needs.Root(t, "mounting") }); !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAScriptsConditionIsAnErrorWhereEverythingIsPromised(t *testing.T) {
	lack := errors.New("no SoftHSM")
	for _, c := range []struct {
		value string
		lack  error
		holds bool
		fails bool
	}{{"", nil, true, false}, {"1", nil, true, false}, {"", lack, false, false}, {"1", lack, false, true}} {
		t.Setenv("BAKEHOUSE_TEST_ALL", c.value)
		holds, err := needs.Condition(c.lack)
		if holds != c.holds || (err != nil) != c.fails || err != nil && !errors.Is(err, lack) {
			t.Errorf("%q, lacking %v: %v, %v", c.value, c.lack, holds, err)
		}
	}
}
