package agent

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"

	"bakehouse/agent/state"
	"bakehouse/schema"
)

// Settings are all settings of the host, and where they are.
type Settings struct {
	ConfigFile string          `json:"configFile"`
	StateFile  string          `json:"stateFile"`
	Problem    string          `json:"problem,omitempty"` // with the baked files
	Settings   []state.Setting `json:"settings"`

	err error
}

// Err is what is wrong with the baked files: no update can work.
func (s *Settings) Err() error { return s.err }

// ShowConfig reads both files and says which value counts.
func (a *Agent) ShowConfig() (*Settings, error) {
	h, err := a.files.Load()
	if err != nil {
		return nil, err
	}
	out := &Settings{ConfigFile: a.files.Path(schema.ConfigFile), StateFile: a.files.Stored(state.RecordFile),
		Settings: h.Settings(), err: h.Problem}
	if h.Problem != nil {
		out.Problem = h.Problem.Error()
	}
	return out, nil
}

// Print writes s for people.
func (s *Settings) Print(w io.Writer) error {
	fmt.Fprintf(w, "config: %s\nstate:  %s\n", s.ConfigFile, s.StateFile)
	if s.Problem != "" {
		fmt.Fprintf(w, "problem: %s\n", s.Problem)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tFROM\tPOLICY\tCONFIG\tSTATE")
	for _, v := range s.Settings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, v.Value, v.From, cmp.Or(v.Policy, "-"),
			cmp.Or(v.Config, "-"), cmp.Or(v.State, "-"))
	}
	return t.Flush()
}
