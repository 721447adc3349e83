package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// alteredBytes stands for an error type of another package that says of itself that it is a refusal.
type alteredBytes struct{}

func (alteredBytes) Error() string { return "altered bytes" }
func (alteredBytes) Refused() bool { return true }

func TestExitCodesAndHints(t *testing.T) {
	plain := errors.New("plain")
	altered := alteredBytes{}
	for name, c := range map[string]struct {
		err  error
		code int
		hint string
	}{
		"no error":                           {nil, ExitOK, ""},
		"an error without a hint":            {plain, ExitError, ""},
		"an error with a hint":               {Hint(plain, "do %s", "this"), ExitError, "do this"},
		"changes pending, which is no fault": {fmt.Errorf("x: %w", ErrChanges), ExitChanges, ""},
		"a refusal beside changes":           {errors.Join(ErrChanges, Refuse(plain, "do this")), ExitRefused, "do this"},
		"a refusal":                          {Refuse(plain, "do this"), ExitRefused, "do this"},
		"a refusal inside a hint":            {Hint(fmt.Errorf("x: %w", Refuse(plain, "inner")), "outer"), ExitRefused, "outer"},
		"a refusal without a hint":           {Hint(&Fault{Err: plain, Refusal: true}, "outer"), ExitRefused, "outer"},
		"a hint inside a refusal without":    {&Fault{Err: Hint(plain, "inner"), Refusal: true}, ExitRefused, "inner"},
		"altered bytes":                      {fmt.Errorf("x: %w", altered), ExitRefused, ""},
		"a refusal joined behind a hint":     {errors.Join(Hint(plain, "first"), Refuse(plain, "second")), ExitRefused, "first"},
		"altered bytes joined behind a hint": {errors.Join(plain, Hint(plain, "first"), altered), ExitRefused, "first"},
		"a hint joined behind none":          {errors.Join(plain, Hint(plain, "second")), ExitError, "second"},
		"several errors in one text":         {fmt.Errorf("%w and %w", plain, Refuse(plain, "second")), ExitRefused, "second"},
	} {
		if code, hint := ExitCode(c.err), HintOf(c.err); code != c.code || hint != c.hint {
			t.Errorf("%s: exit code %d and hint %q, want %d and %q", name, code, hint, c.code, c.hint)
		}
	}
	if Hint(nil, "x") != nil {
		t.Error("a hint on no error is an error")
	}
	if err := Hint(fs.ErrNotExist, "x"); !errors.Is(err, fs.ErrNotExist) || err.Error() != fs.ErrNotExist.Error() {
		t.Errorf("the hint hides the error: %v", err)
	}
}
