package fleet

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestAMessageWithoutValuesKeepsItsWords(t *testing.T) {
	for msg, want := range map[string]string{
		`conflicting values "a \"b" and 12.5`:             `conflicting values (secret) and (secret)`,
		`expected ':', found 'EOF'`:                       `expected ':', found 'EOF'`,
		"invalid value \"\"\"\n\thunter\n\t\"\"\" (!= 1)": `invalid value (secret) (!= (secret))`,
		`cannot use 'hunter' as text`:                     `cannot use (secret) as text`,
		`invalid value "cut off`:                          `invalid value (secret)`,
		`missing ',' in struct literal`:                   `missing ',' in struct literal`,
	} {
		if got := WithoutValues(msg); got != want {
			t.Errorf("%q becomes\n%q, want\n%q", msg, got, want)
		}
	}
}

func TestSecretsInMessagesAreReplaced(t *testing.T) {
	ps := Problems{{Msg: `a "x\ny" b`, Hint: "https://u:p/w@h and a@b"}, {Msg: "xyz is short xy"}}.
		WithoutTexts([]string{"x\ny", "xyz", "xy"})
	if ps[0].Msg != `a "(secret)" b` || ps[0].Hint != "https://hidden@h and a@b" ||
		ps[1].Msg != "(secret) is short xy" {
		t.Errorf("%+v", ps)
	}
}

func TestAMaskKnowsASecretHoweverItIsWritten(t *testing.T) {
	m := MaskOf([]string{"a&\"b\n/ü", "abcd", "abcdef", "xyz"})
	for text, want := range map[string]string{
		"a&\"b\n/ü":                      Hidden,
		`{"x":"a\u0026\"b\n/ü"}`:         `{"x":"(secret)"}`,
		`x: "a&\"b\n/ü"`:                 `x: "(secret)"`,
		"h/?p=a%26%22b%0A%2F%C3%BC":      "h/?p=" + Hidden,
		"abcdef, then abcd, then abc":    Hidden + ", then " + Hidden + ", then abc",
		"what is shorter is left as xyz": "what is shorter is left as xyz",
	} {
		if got := m.Text(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := string(m.JSON([]byte(`{"abcd":["xabcdef",12345678901234567890]}`))); got !=
		`{"(secret)":["x(secret)",12345678901234567890]}` {
		t.Errorf("%s", got)
	}
	for before := range 4 {
		for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			const secret = "s3cret?~>passw\xf6rd"
			text := alphabet.EncodeToString([]byte("user:"[5-before:] + secret + "@after"[:before]))
			got, hidden := strings.CutPrefix(MaskOf([]string{secret}).Text("Basic "+text), "Basic ")
			rest := strings.Replace(got, Hidden, "", 1)
			// What is left is of the neighbours, and of the secret at most bits that share a character with theirs.
			if hidden = hidden && rest != got; !hidden || len(text)-len(rest) < 4*len(secret)/3-2 {
				t.Errorf("%d before: %s becomes %s", before, text, got)
			}
		}
	}
	for _, digits := range []string{"616263646566", "616263646566=", "0x616263646566"} {
		if got := m.Text(digits); strings.Contains(got, "6162") {
			t.Errorf("%s becomes %s", digits, got)
		}
	}
	const plain = `{"b":1,"a":"<"}`
	if got := string(m.JSON([]byte(plain))); got != plain {
		t.Errorf("%s, want what it was", got)
	}
	if got := (Mask{}).Text("abcd"); got != "abcd" {
		t.Errorf("no secrets, but %s", got)
	}
}
