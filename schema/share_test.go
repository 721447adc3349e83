package schema

import "testing"

func TestAShareIsReadAndWrittenAlike(t *testing.T) {
	for text, want := range map[string]Share{"0%": 0, "1%": 100, "95%": 9500, "0.5%": 50, "0.05%": 5, "99.99%": 9999,
		"100%": Whole} {
		got, err := ParseShare(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %d (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "%", "95", ".5%", "5.%", "-1%", "+1%", "0.001%", "100.01%", "101%", "9 5%",
		"99999999999999999999%", "1e1%"} {
		if got, err := ParseShare(text); err == nil {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}

func TestAShareOfNothingIsNeverReached(t *testing.T) {
	if Share(0).Reached(0, 0) || !Share(9500).Reached(19, 20) || Share(9500).Reached(18, 20) || Share(1).Reached(0, 9) {
		t.Error("reached")
	}
	if Share(100).Exceeded(1, 100) || !Share(100).Exceeded(2, 100) || Share(0).Exceeded(0, 0) ||
		!Share(0).Exceeded(1, 9) {
		t.Error("exceeded")
	}
}
