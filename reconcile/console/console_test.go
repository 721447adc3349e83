package console

import (
	"strings"
	"testing"
	"time"
)

func TestNumbersReadAsPeopleWriteThem(t *testing.T) {
	const day = 24 * time.Hour
	for got, want := range map[string]string{
		Count(0, "host"): "0 hosts", Count(1, "host"): "1 host", Count(2, "host"): "2 hosts",
		Size(9_999): "9999 B", Size(10_000): "10.0 kB", Size(1_234_567): "1.2 MB",
		Days(day - 1): "less than a day", Days(day): "1 day", Days(31 * day): "31 days",
		Hosts([]string{"a", "b", "c"}): "a, b, c", Hosts([]string{"a", "b", "c", "d"}): "4 hosts (a, …)",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestJSONIsIndentedAndKeepsWhatHTMLWouldEscape(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, map[string]string{"range": "<2 & >1"}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "{\n  \"range\": \"<2 & >1\"\n}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
