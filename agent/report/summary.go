package report

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/outcome"
	"bakehouse/schema/plain"
)

const maxSummary = 1 << 20

// Publish writes the summary. Unsaved is what kept the last update from writing its outcome into the state; nil: it is
// there.
func Publish(f state.Files, version string, unsaved error) error {
	h, err := f.Load()
	if err != nil {
		return err
	}
	s := Of(f, h, version)
	if unsaved != nil && s.Registered {
		s.LastTry = f.Now().UTC().Truncate(time.Second)
		s.Last = cycle.Outcome{State: schema.StateFailed, Code: outcome.CodeHost,
			Error:  plain.Line(unsaved.Error(), plain.MaxError),
			Target: s.Last.Target, Downloaded: s.Last.Downloaded}
		s.Judge(f.Now())
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	text := string(b)
	if r := h.Registration; r != nil && r.Secret != "" {
		// It is in no field; but a server that was told it can put it into an answer's text.
		text = strings.ReplaceAll(text, r.Secret, "(hidden)")
	}
	name := summaryFile(f)
	if err := durable.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	if err := durable.WriteLoose(name, []byte(text+"\n"), 0o644); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	return nil
}

// readSummary reads it; nil if there is none.
func readSummary(f state.Files) (*Status, error) {
	name := summaryFile(f)
	b, err := state.ReadFile(name, maxSummary)
	if err != nil || b == nil {
		return nil, err
	}
	s := &Status{}
	if err := schema.Decode(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
