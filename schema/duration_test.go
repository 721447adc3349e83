package schema

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "0s": 0, "0d": 0, "90s": 90 * time.Second, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute,
		"1d": day, "7d": 7 * day, "365d": 365 * day, "36500d": 36500 * day, "1.5h": 90 * time.Minute} {
		if got, err := ParseDuration(s); err != nil || time.Duration(got) != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "d", "7", "-1d", "-1s", "7 d", " 7d", "7d\n", "1.5d", "1d12h", "36501d", "1e3d", "0x7d", "1000000h",
		"213504d", "1067520d", "2147483647d", "4294967297d", "99999999999999999999d", "week"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("accepted %q as %v", s, got)
		}
	}
}

func TestADurationOfManyDaysDoesNotWrapAround(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		days := rapid.Int64Range(36501, 1<<33).Draw(r, "days")
		if got, err := ParseDuration(strconv.FormatInt(days, 10) + "d"); err == nil {
			r.Fatalf("%d days are taken for %v", days, got)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"", "7d", "90s", "1h30m", "-1d", "36500d", "106752d", "9223372036854775807ns", "1.0000000000000000001h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 || time.Duration(d) > 36500*day {
			t.Errorf("%q became %v", s, time.Duration(d))
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q became %v, whose text becomes %v (%v)", s, time.Duration(d), time.Duration(back), err)
		}
	})
}
