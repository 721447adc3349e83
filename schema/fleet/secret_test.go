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
