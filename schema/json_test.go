package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecodeRefusesWhatTwoParsersCouldReadDifferently(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":                       "",
		"space only":                    " \n",
		"half an object":                `{"a":1`,
		"two values":                    `{} {}`,
		"text behind the value":         `{}x`,
		"a closing brace too many":      `{}}`,
		"a name twice":                  `{"a":1,"a":2}`,
		"a name twice, once escaped":    `{"a":1,"\u0061":2}`,
		"a name twice, deep inside":     `{"a":[1,{"b":{"c":1,"d":[],"c":2}}]}`,
		"a name twice around an object": `{"a":{"x":1},"b":[],"a":1}`,
		"a name twice around an array":  `{"a":[{"a":1}],"a":1}`,
		"two names that are no UTF-8":   "{\"\xff\":1,\"\xfe\":2}",
		"nested too deep in arrays":     strings.Repeat("[", 33) + strings.Repeat("]", 33),
		"nested too deep in objects":    strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33),
		"nested without an end":         strings.Repeat("[", 1<<20),
		"no name":                       `{1:2}`,
		"a comma at the end":            `{"a":1,}`,
		"a comment":                     `{"a":1/**/}`,
		"NaN":                           `NaN`,
		"brackets that do not match":    `[}`,
		"a name twice among many":       "{" + manyNames(100) + `,"n7":1}`,
		"the last of many names twice":  "{" + manyNames(25) + `,"n24":1}`,
		"a string without an end":       `{"a`,
		"an escape without an end":      `{"a\`,
		"a name twice after a string with a brace and a quote": `{"a":"}\"{","b":1,"a":2}`,
	} {
		var v any
		if err := Decode([]byte(s), &v); err == nil {
			t.Errorf("%s: read as %v", name, v)
		}
	}
}

func manyNames(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"n%d":1`, i))
	}
	return strings.Join(list, ",")
}

func TestDecodeReadsWhatIsFine(t *testing.T) {
	for _, s := range []string{`{}`, `[]`, `null`, `"a"`, `1`, `true`, ` {"a" : 1 } `, `{"a":"a","b":{"a":{"a":"b"}},"c":["a","a",{"a":1},{"a":1}]}`,
		`{"":1,"a":"","b":""}`, strings.Repeat("[", 32) + strings.Repeat("]", 32),
		"{" + manyNames(100) + "}", `[{"a":1},{"a":1}]`, `{"a":"\\","b":"\"a\":","c":{"a":["a"]}}`, `{"é":1,"e":2}`} {
		var got, want any
		if err := Decode([]byte(s), &got); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if err := json.Unmarshal([]byte(s), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v (%v)", s, got, want, err)
		}
	}
}

func TestANewerProgramsNamesArePassedOver(t *testing.T) {
	var p Problem
	if err := Decode([]byte(`{"error":"e","novelty":{"a":[1]},"hint":"h"}`), &p); err != nil || p != (Problem{"e", "h"}) {
		t.Errorf("%v, %v", p, err)
	}
}

// A value that a test library makes has no name twice, so whatever marshals decodes to itself.
func TestDecodeAgreesWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.MapOf(rapid.String(), rapid.Int32()))).Draw(r, "value")
		b, err := json.Marshal(m)
		if err != nil {
			r.Fatal(err)
		}
		var got, want map[string][]map[string]int32
		if err := json.Unmarshal(b, &want); err != nil {
			r.Fatal(err)
		}
		if err := Decode(b, &got); err != nil || !reflect.DeepEqual(got, want) {
			r.Fatalf("%s: %v, want %v (%v)", b, got, want, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{``, `{"a":1,"a":2}`, `{"a":[{"b":null}]}`, `[[[[]]]]`, `{"\u0061":1}`, "{\"\xff\":1}", `1e999`, `{} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if Decode(b, &v) != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("invalid JSON was read: %q", b)
		}
		// With every name once, what was read is written again with as many names.
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := names(t, again), names(t, b); got != want {
			t.Fatalf("%q has %d names, what was read has %d", b, want, got)
		}
	})
}

// names counts the names in a document; an object's tokens take turns.
func names(t *testing.T, b []byte) (n int) {
	var count func(raw json.RawMessage)
	count = func(raw json.RawMessage) {
		raw = bytes.TrimSpace(raw)
		switch raw[0] {
		case '{':
			d := json.NewDecoder(bytes.NewReader(raw))
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
			for d.More() {
				if _, err := d.Token(); err != nil {
					t.Fatal(err)
				}
				n++
				var v json.RawMessage
				if err := d.Decode(&v); err != nil {
					t.Fatal(err)
				}
				count(v)
			}
		case '[':
			var all []json.RawMessage
			if err := json.Unmarshal(raw, &all); err != nil {
				t.Fatal(err)
			}
			for _, v := range all {
				count(v)
			}
		}
	}
	count(b)
	return n
}

// BenchmarkDecode compares what bounds JSON with encoding/json alone, on a host's poll.
func BenchmarkDecode(b *testing.B) {
	body, err := json.Marshal(PollRequest{Schema: WireVersions(), Report: Report{Agent: "1.0.0", State: StateCurrent,
		Platform: Platform{OS: "linux", Arch: "amd64"}, Target: DigestOf([]byte("a")), Installed: DigestOf([]byte("b")),
		Machine: "0123456789abcdef"}})
	if err != nil {
		b.Fatal(err)
	}
	perOp := map[string]float64{}
	for name, decode := range map[string]func([]byte, any) error{"alone": json.Unmarshal, "bounded": Decode} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var q PollRequest
				if err := decode(body, &q); err != nil {
					b.Fatal(err)
				}
			}
			perOp[name] = float64(b.Elapsed()) / float64(b.N)
		})
	}
	b.Logf("%.2f of encoding/json alone", perOp["bounded"]/perOp["alone"])
}
