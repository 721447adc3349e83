package transfer

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
)

func written(t testing.TB) (string, []inventory.Entry) {
	t.Helper()
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	d := schema.DigestOf([]byte("x"))
	entries := []inventory.Entry{
		{Served: &inventory.Served{Anchor: d, Timestamp: 3, File: []byte("{}"), At: at}},
		{Host: &inventory.Host{Registration: inventory.Registration{Host: "web01", Secret: d, User: "ops", Token: "t",
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Agent: "1", At: at},
			End: inventory.End{How: inventory.Revoked, By: "ops", At: at}, Seen: inventory.Seen{At: at, Address: "a",
				Timestamp: 3, Root: 1, Report: schema.Report{State: "current", Details: &schema.Details{Interval: 6}}}},
			Packages: []inventory.Package{{SHA256: d, Manifest: d}}},
	}
	var b bytes.Buffer
	hosts, err := Write(&b, func(yield func(inventory.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}, at)
	if err != nil || hosts != 1 {
		t.Fatal(hosts, err)
	}
	return b.String(), entries
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	text, want := written(t)
	if got, err := Read(strings.NewReader(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAFileThatIsNotWholeIsRefused(t *testing.T) {
	text, _ := written(t)
	lines := strings.SplitAfter(text, "\n")
	for bad, want := range map[string]string{
		"":                                      "cut off",
		"{}\n":                                  "not an exported inventory",
		lines[0] + lines[1]:                     "cut off",
		lines[0] + lines[2] + lines[3]:          "1 lines are missing",
		text + lines[1]:                         "more after the end",
		text[:len(text)/2]:                      "line ",
		strings.Replace(text, "1", "2", 1):      "it has schema 2",
		lines[0] + "{}\n" + lines[3]:            "line 2: an entry is one host",
		strings.Replace(text, "web01", "..", 1): "line 3",
	} {
		if _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", bad, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	text, _ := written(f)
	f.Add(text)
	f.Fuzz(func(t *testing.T, s string) {
		entries, err := Read(strings.NewReader(s))
		for _, e := range entries {
			if err == nil && e.Check() != nil {
				t.Errorf("%+v", e)
			}
		}
	})
}
