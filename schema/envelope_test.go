package schema

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
)

func TestAnEnvelopeThatGoesWithoutItsPayloadComesBackAsItWas(t *testing.T) {
	s, text := statementExample(t)
	payload := []byte(text)
	const signatures = `[{"keyid":"k","sig":"c2ln"}]`
	envelope := func(payload []byte, kind, rest string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"payload":"%s","payloadType":"%s"%s}`,
			base64.StdEncoding.EncodeToString(payload), kind, rest))
	}
	whole := envelope(payload, StatementType, `,"signatures":`+signatures)
	short := s.Shorten(whole)
	if string(short) != `{"signatures":`+signatures+`}` {
		t.Errorf("sent as %s", short)
	}
	if got := s.Restore(short); string(got) != string(whole) {
		t.Errorf("restored as %s, want %s", got, whole)
	}
	other := s
	other.Recipe = "00000000000000ff"
	for name, e := range map[string]json.RawMessage{
		"of another package": other.Shorten(whole),
		"another type":       envelope(payload, "application/json", `,"signatures":[]`),
		"more in it":         envelope(payload, StatementType, `,"signatures":[],"more":1`),
		"no signatures":      envelope(payload, StatementType, ""),
		"white space":        envelope(append(payload, ' '), StatementType, `,"signatures":[]`),
		"no envelope":        json.RawMessage(`7`),
		"no JSON":            json.RawMessage(`{`),
	} {
		if got := s.Shorten(e); name != "of another package" && string(got) != string(e) {
			t.Errorf("%s: %s becomes %s", name, e, got)
		}
		if got := s.Restore(e); string(got) != string(e) {
			t.Errorf("%s: %s is restored as %s", name, e, got)
		}
	}
}
