package window

import (
	"testing"
	"time"
)

func at(t *testing.T, zone, s string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := time.ParseInLocation("2006-01-02 15:04:05 -0700", s, loc); err == nil {
		return at.In(loc)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestAWindowIsOpenByTheHostsWallClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		windows []string
		at      string // in Berlin
		next    string // "": it is open
	}{
		{nil, "2026-11-30 12:00:00", ""},
		{[]string{"Mon-Fri 22:00-04:00"}, "2026-11-30 21:59:59", "2026-11-30 22:00:00"}, // a Monday
		{[]string{"Mon-Fri 22:00-04:00"}, "2026-11-30 22:00:00", ""},
		{[]string{"Mon-Fri 22:00-04:00"}, "2026-11-30 03:59:59", "2026-11-30 22:00:00"}, // Sunday's night is none
		{[]string{"Mon-Fri 22:00-04:00"}, "2026-12-05 03:59:59", ""},                    // Friday's goes on on Saturday
		{[]string{"Mon-Fri 22:00-04:00"}, "2026-12-05 04:00:00", "2026-12-07 22:00:00"},
		{[]string{"Sat 23:00-01:00"}, "2026-12-06 00:30:00", ""}, // over the end of the week
		{[]string{"Sun"}, "2026-12-05 23:59:59", "2026-12-06 00:00:00"},
		{[]string{"Sun"}, "2026-12-06 23:59:59", ""},
		{[]string{"Sat-Mon"}, "2026-12-01 00:00:00", "2026-12-05 00:00:00"},
		{[]string{"Wed,Fri 10:00-24:00", "Thu 09:00-10:00"}, "2026-12-02 23:59:59", ""},
		{[]string{"Wed,Fri 10:00-24:00", "Thu 09:00-10:00"}, "2026-12-03 00:00:00", "2026-12-03 09:00:00"},
		{[]string{"01:00-05:00"}, "2026-12-02 05:00:00", "2026-12-03 01:00:00"},
		// Clocks go from 02:00 to 03:00 on 2026-03-29, a Sunday, and from 03:00 to 02:00 on 2026-10-25.
		{[]string{"Sun 02:15-02:45"}, "2026-03-29 01:59:59", "2026-04-05 02:15:00"},
		{[]string{"Sun 02:30-04:00"}, "2026-03-29 01:59:59", "2026-03-29 03:00:00"},
		{[]string{"Sun 02:00-03:00"}, "2026-10-25 02:59:59 +0200", ""},
		{[]string{"Sun 02:00-02:30"}, "2026-10-25 02:30:00 +0200", "2026-10-25 02:00:00 +0100"},
		{[]string{"Sun 02:00-03:00"}, "2026-10-25 02:59:59 +0100", ""},
	} {
		w, err := Parse(c.windows)
		if err != nil {
			t.Fatal(err)
		}
		now := at(t, "Europe/Berlin", c.at)
		if w.Open(now) != (c.next == "") {
			t.Errorf("%q at %s: open is %v", c.windows, c.at, w.Open(now))
			continue
		}
		if c.next != "" && !w.Next(now).Equal(at(t, "Europe/Berlin", c.next)) {
			t.Errorf("%q at %s: next %s, want %s", c.windows, c.at, w.Next(now), c.next)
		}
	}
}

func TestAWindowThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " ", "Mon-", "mon", "Mo", "Mon Tue", "Mon22:00-23:00", "22:00", "22-04",
		"24:00-01:00", "23:00-24:30", "29:00-30:00", "22:00-22:00", "Mon  01:00-02:00", "Foo", "Mon-Foo 01:00-02:00",
		"Mon 1:00-2:00", " 01:00-02:00", "Mon 01:00-02:00 ", "Mon\n01:00-02:00"} {
		if _, err := Parse([]string{text}); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	if _, err := Parse(make([]string, 51)); err == nil {
		t.Error("any number is accepted")
	}
}
