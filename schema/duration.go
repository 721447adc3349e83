package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration whose text form also knows whole days: "7d", "90m", "1h30m".
type Duration time.Duration

const (
	day     = 24 * time.Hour
	maxDays = 36500
)

// ParseDuration reads a duration that is not negative.
func ParseDuration(s string) (Duration, error) {
	var d time.Duration
	var err error
	if n, ok := strings.CutSuffix(s, "d"); ok {
		var days int64
		days, err = strconv.ParseInt(n, 10, 32)
		d = time.Duration(min(days, maxDays+1)) * day // or a huge number would wrap around to a plausible one
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d < 0 || d > maxDays*day {
		return 0, fmt.Errorf("duration %.40q is not of a form such as 90s, 10m, 1h or 7d", s)
	}
	return Duration(d), nil
}

func (d Duration) String() string {
	if t := time.Duration(d); t != 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}
