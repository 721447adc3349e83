package fleet

import "testing"

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
	const plain = `{"b":1,"a":"<"}`
	if got := string(m.JSON([]byte(plain))); got != plain {
		t.Errorf("%s, want what it was", got)
	}
	if got := (Mask{}).Text("abcd"); got != "abcd" {
		t.Errorf("no secrets, but %s", got)
	}
}
