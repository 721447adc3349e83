package schema

import (
	"encoding/base64"
	"encoding/json"
)

// An envelope on a package as a server sends it may lack its payload and that payload's type: who asks has the
// manifest, and with it the statement that such a signature is on. Whether it is, the signature tells.

// Shorten is the DSSE envelope without its payload, if that is s and nothing else is in the envelope but signatures;
// otherwise the envelope.
func (s Statement) Shorten(envelope json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	var payload, kind string
	want, err := s.Encode()
	if err != nil || json.Unmarshal(envelope, &members) != nil || len(members) != 3 ||
		json.Unmarshal(members["payload"], &payload) != nil || json.Unmarshal(members["payloadType"], &kind) != nil ||
		payload != base64.StdEncoding.EncodeToString(want) || kind != StatementType || members["signatures"] == nil {
		return envelope
	}
	short, err := json.Marshal(map[string]json.RawMessage{"signatures": members["signatures"]})
	if err != nil {
		return envelope
	}
	return short
}

// Restore is the envelope with s as its payload, if it has none but signatures; otherwise the envelope.
func (s Statement) Restore(envelope []byte) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(envelope, &members) != nil || len(members) != 1 || members["signatures"] == nil {
		return envelope
	}
	payload, err := s.Encode()
	if err != nil {
		return envelope
	}
	full, err := json.Marshal(struct {
		Payload     []byte          `json:"payload"`
		PayloadType string          `json:"payloadType"`
		Signatures  json.RawMessage `json:"signatures"`
	}{payload, StatementType, members["signatures"]})
	if err != nil {
		return envelope
	}
	return full
}
