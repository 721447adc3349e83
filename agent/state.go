package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

const (
	stateSchema = 1
	stateFile   = "state.json"
	maxState    = 4 << 20
	maxFailed   = 64
)

// State is state.json.
type State struct {
	Schema       int           `json:"schema"`
	Registration *Registration `json:"registration,omitempty"`
	Bootstrap    *Bootstrap    `json:"bootstrap,omitempty"`
	Installed    *Installed    `json:"installed,omitempty"`
	Previous     *Installed    `json:"previous,omitempty"`
	Pending      *Pending      `json:"pending,omitempty"`
	Failed       []int64       `json:"failed,omitempty"` // releases that failed here or were rolled back by hand
	FailedWhy    string        `json:"failedWhy,omitempty"`
	Hold         string        `json:"hold,omitempty"` // why the server holds this host back, as it last said
	Withheld     *Withheld     `json:"withheld,omitempty"`
	Root         int64         `json:"root,omitempty"` // verified versions, for status
	Timestamp    int64         `json:"timestamp,omitempty"`
	LastCheck    time.Time     `json:"lastCheck,omitzero"`
	LastUpdate   time.Time     `json:"lastUpdate,omitzero"`
	Last         Outcome       `json:"last,omitzero"`
	Fetched      int64         `json:"fetched,omitempty"` // bytes that the last installation, or attempt at one, fetched
}

// Registration is what register agreed with the server.
type Registration struct {
	Server       string    `json:"server"`
	Host         string    `json:"host"`
	Secret       string    `json:"secret"`
	Site         string    `json:"site,omitempty"`
	Certificates []string  `json:"certificates,omitempty"` // PEM, from --ca
	At           time.Time `json:"at"`
}

// Bootstrap is what a host without a package verifies its first one with.
type Bootstrap struct {
	Anchor []byte               `json:"anchor"` // root metadata
	Keys   []schema.AcceptedKey `json:"keys"`
}

// Installed is a package that was installed from here.
type Installed struct {
	Package  schema.Digest   `json:"package"`
	Manifest schema.Digest   `json:"manifest"`
	Recipe   schema.RecipeID `json:"recipe"`
	Release  int64           `json:"release"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Format   schema.Format   `json:"format"`
	At       time.Time       `json:"at,omitzero"`
}

// Pending is an installation that was begun. It is written before the system is touched.
type Pending struct {
	Installed
	Attempts int `json:"attempts"`
}

// Outcome is how an update ended: a State… constant, and why.
type Outcome struct {
	State      string        `json:"state"`
	Code       string        `json:"code,omitempty"`
	Why        string        `json:"why,omitempty"`
	Error      string        `json:"error,omitempty"`
	Target     schema.Digest `json:"target,omitzero"`
	Downloaded schema.Digest `json:"downloaded,omitzero"`
}

// readState reads state.json in dir; a missing one is an empty state.
func readState(dir string) (*State, error) {
	if err := checkDir(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &State{Schema: stateSchema}, nil
		}
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &State{Schema: stateSchema}, nil
	}
	if err != nil {
		return nil, asRoot(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return nil, err
	}
	s, err := decodeState(b)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("%s is damaged: %w", f.Name(), err),
			"register again with bakehouse-agent register --force; the next update then installs the package anew")
	}
	return s, nil
}

func decodeState(b []byte) (*State, error) {
	s := &State{}
	if err := schema.Decode(b, s); err != nil {
		return nil, err
	}
	if s.Schema != stateSchema {
		return nil, fmt.Errorf("schema %d, this program reads %d", s.Schema, stateSchema)
	}
	if r := s.Registration; r != nil {
		if err := errors.Join(schema.CheckHostName(r.Host), schema.CheckServerURL(r.Server)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *State) write(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, stateFile), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// standing is what Decide is told.
func (s *State) standing() schema.Standing {
	st := schema.Standing{Failed: s.Failed}
	if s.Installed != nil {
		st.Installed, st.Release = s.Installed.Package, s.Installed.Release
	}
	return st
}

func (s *State) markFailed(release int64) {
	if slices.Contains(s.Failed, release) {
		return
	}
	s.Failed = append(s.Failed, release)
	// Newest releases matter: older ones are no candidates any more.
	s.Failed = s.Failed[max(0, len(s.Failed)-maxFailed):]
}

// makeDir creates the state directory and checks it.
func makeDir(dir string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return asRoot(err)
	}
	return checkDir(dir)
}

// checkDir refuses a state directory that somebody else could have put there or can write to: what lies in it decides
// which server is believed and what is run as root. An absent one is fs.ErrNotExist.
func checkDir(dir string) error {
	if err := canCheckDir(); err != nil {
		return err
	}
	link, err := os.Lstat(dir)
	if err != nil {
		return asRoot(err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return asRoot(err)
	}
	for _, i := range []fs.FileInfo{link, fi} {
		if uid, ok := owner(i); ok && uid != os.Geteuid() && uid != 0 {
			return fault.Refuse(fmt.Errorf("the state directory %s belongs to user %d", dir, uid),
				"remove it, or give it to the user that runs the updater, and register again")
		}
	}
	if !fi.IsDir() {
		return fmt.Errorf("the state directory %s is not a directory", dir)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fault.Refuse(fmt.Errorf("the state directory %s can be written by others (mode %o)", dir, fi.Mode().Perm()),
			"chmod 0700 %s, after looking at what is in it", dir)
	}
	return nil
}

// asRoot adds the usual remedy to a permission error.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fault.Hint(err, "run it as root")
	}
	return err
}

// lock keeps a second update, rollback or registration out until the returned function is called. The kernel releases
// it when the process ends, however it ends.
func lock(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, asRoot(err)
	}
	unlock, err := lockFile(f)
	if err != nil {
		f.Close()
		if errors.Is(err, errBusy) {
			return nil, fault.Hint(errBusy, "wait until it has ended; %s tells its story", filepath.Join(dir, logFile))
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() {
		// Closing is not enough: a child that was forked meanwhile, and has not reached its exec, holds the file open too.
		unlock()
		f.Close()
	}, nil
}

var errBusy = errors.New("another update, rollback or registration of this host is under way")
