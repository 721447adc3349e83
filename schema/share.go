package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is a part of a whole in hundredths of a percent: 9500 is "95%". Its text form has at most two decimals.
type Share int

// Whole is "100%".
const Whole Share = 100_00

// ParseShare reads a share from 0% to 100%.
func ParseShare(s string) (Share, error) {
	number, ok := strings.CutSuffix(s, "%")
	whole, decimals, dot := strings.Cut(number, ".")
	ok = ok && len(decimals) <= 2 && dot == (decimals != "")
	n, err := strconv.ParseUint(whole+(decimals + "00")[:2], 10, 32)
	if !ok || whole == "" || err != nil || n > uint64(Whole) {
		return 0, fmt.Errorf("share %.40q is not of a form such as 95%% or 0.5%%, from 0%% to 100%%", s)
	}
	return Share(n), nil
}

func (s Share) String() string {
	text := fmt.Sprintf("%d.%02d", int(s)/100, int(s)%100)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "%"
}

// Reached reports whether part of whole is at least s. No part of nothing is.
func (s Share) Reached(part, whole int) bool {
	return whole > 0 && int64(part)*int64(Whole) >= int64(s)*int64(whole)
}

// Exceeded reports whether part of whole is more than s.
func (s Share) Exceeded(part, whole int) bool {
	return int64(part)*int64(Whole) > int64(s)*int64(whole)
}

// MarshalText implements encoding.TextMarshaler.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Share) UnmarshalText(b []byte) (err error) {
	*s, err = ParseShare(string(b))
	return err
}
