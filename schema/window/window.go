// Package window is the times of a week at which hosts may install, such as "Mon-Fri 22:00-04:00" or "Sun". They are
// read here for whoever writes them and for the hosts alike.
//
// A window goes by what clocks on the wall show in the host's time zone. It begins on the days that it names, and may
// end on the next. So on the night when clocks are set forward, a window that lies wholly in the hour that is left out
// does not come, and one that reaches into it is an hour shorter; when they are set back, the hour that comes twice is
// in the window twice.
package window

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	minutes = 24 * 60 // of a day
	week    = 7 * minutes
	most    = 50 // windows
	longest = 60 // bytes of one
)

var days = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// Windows is a list of them; none is always.
type Windows struct{ in []bool } // by minute of the week, from Sunday 00:00 on

var form = regexp.MustCompile(`^(?:([A-Z][a-z]{2}(?:[-,][A-Z][a-z]{2})*))?` +
	`(?: ?\b([0-2][0-9]:[0-5][0-9])-([0-2][0-9]:[0-5][0-9]))?$`)

// Parse reads windows.
func Parse(texts []string) (Windows, error) {
	if len(texts) > most {
		return Windows{}, fmt.Errorf("%d windows, at most %d are read", len(texts), most)
	}
	w := Windows{}
	for _, text := range texts {
		if w.in == nil {
			w.in = make([]bool, week)
		}
		if err := w.add(text); err != nil {
			return Windows{}, err
		}
	}
	return w, nil
}

func (w *Windows) add(text string) error {
	wrong := func(why string) error {
		return fmt.Errorf("window %.60q: %s", text, why)
	}
	m := form.FindStringSubmatch(text)
	if len(text) > longest || m == nil || text == "" || strings.TrimSpace(text) != text ||
		m[1] != "" && m[2] != "" && !strings.Contains(text, " ") {
		return wrong(`want days, times or both, such as "Mon-Fri 22:00-04:00", "Sat,Sun" or "01:00-05:00"`)
	}
	begin, end := 0, minutes
	if m[2] != "" {
		var ok [2]bool
		begin, ok[0] = clock(m[2])
		end, ok[1] = clock(m[3])
		switch {
		case !ok[0] || !ok[1] || begin == minutes:
			return wrong("a day has the times 00:00 to 23:59, and ends at 24:00")
		case begin == end:
			return wrong("it ends when it begins: for the whole day leave out the times")
		case end < begin:
			end += minutes
		}
	}
	on, err := daysOf(m[1])
	if err != "" {
		return wrong(err)
	}
	for day, is := range on {
		for i := begin; is && i < end; i++ {
			w.in[(day*minutes+i)%week] = true
		}
	}
	return nil
}

func clock(s string) (minute int, ok bool) {
	h, _ := strconv.Atoi(s[:2])
	m, _ := strconv.Atoi(s[3:])
	minute = h*60 + m
	return minute, minute <= minutes
}

// daysOf reads "Mon-Fri,Sun"; nothing is every day.
func daysOf(text string) (on [7]bool, wrong string) {
	if text == "" {
		return [7]bool{true, true, true, true, true, true, true}, ""
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		i, j := slices.Index(days, first), slices.Index(days, last)
		if i < 0 || j < 0 {
			return on, "days are Mon, Tue, Wed, Thu, Fri, Sat and Sun, ranges of two such as Mon-Fri, or several " +
				"with commas between them"
		}
		for on[i] = true; i != j; {
			i = (i + 1) % len(days)
			on[i] = true
		}
	}
	return on, ""
}

// Open reports whether t, which is in the host's time zone, lies in a window.
func (w Windows) Open(t time.Time) bool {
	return w.in == nil || w.in[int(t.Weekday())*minutes+t.Hour()*60+t.Minute()]
}

// Next is when a window opens the next time after t, at which none is open; zero: not within two weeks.
func (w Windows) Next(t time.Time) time.Time {
	next := t.Truncate(time.Minute)
	for range 2 * week {
		next = next.Add(time.Minute)
		if w.Open(next) {
			return next
		}
	}
	return time.Time{}
}
