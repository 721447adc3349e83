package schema

import (
	"errors"
	"fmt"
)

// Handover is another fleet, which takes a host over: the host is of that fleet from the first time on that all it gets
// from there verifies, and of its own until then.
type Handover struct {
	Fleet        string        `json:"fleet"`
	Server       string        `json:"server"`                 // base URL, https
	Certificates []string      `json:"certificates,omitempty"` // as those of AgentConfig
	Root         Digest        `json:"root"`                   // of that fleet's first root
	Keys         []AcceptedKey `json:"keys"`                   // by which the first package of that fleet is believed
	Threshold    int           `json:"threshold"`
}

// check checks h, which may be nil.
func (h *Handover) check() error {
	switch {
	case h == nil:
		return nil
	case CheckName(h.Fleet) != nil:
		return fmt.Errorf("invalid name of a fleet %.80q", h.Fleet)
	case h.Root.IsZero():
		return errors.New("no root: want the SHA-256 of the fleet's trust/1.root.json")
	case len(h.Keys) == 0:
		return errors.New("no signature keys")
	case h.Threshold < 1 || h.Threshold > len(h.Keys):
		return fmt.Errorf("threshold %d is out of range: want 1 to %d, the number of keys", h.Threshold, len(h.Keys))
	}
	if err := CheckServerURL(h.Server); err != nil {
		return err
	}
	for i, text := range h.Certificates {
		if _, err := ParseCertificates(text); err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	for _, k := range h.Keys {
		if _, err := ParsePublicKey(k.Public); err != nil {
			return fmt.Errorf("signature key %.80q: %w", k.Name, err)
		}
	}
	return nil
}
