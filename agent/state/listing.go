package state

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"

	"bakehouse/schema"
)

// Listing is all settings of the host, and where they are.
type Listing struct {
	ConfigFile string    `json:"configFile"`
	StateFile  string    `json:"stateFile"`
	Problem    string    `json:"problem,omitempty"` // with the baked files
	Settings   []Setting `json:"settings"`

	err error
}

// Err is what is wrong with the baked files: no update can work.
func (s *Listing) Err() error { return s.err }

// List reads both files and says which value counts.
func (f Files) List() (*Listing, error) {
	h, err := f.Load()
	if err != nil {
		return nil, err
	}
	out := &Listing{ConfigFile: f.Path(schema.ConfigFile(runtime.GOOS)), StateFile: f.Stored(RecordFile),
		Settings: h.Settings(), err: h.Problem}
	if h.Problem != nil {
		out.Problem = h.Problem.Error()
	}
	return out, nil
}

// Print writes s for people.
func (s *Listing) Print(w io.Writer) error {
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
