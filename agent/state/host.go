package state

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Host is everything that a host knows.
type Host struct {
	*Record
	Config  *schema.AgentConfig // baked; nil: no package of the fleet is installed, or Problem
	Anchor  []byte              // baked root metadata; nil likewise
	Problem error               // the baked files are there and unusable

	files Files
}

// Load reads the baked files and RecordFile. Files that are not there are no error.
func (f Files) Load() (*Host, error) {
	r, err := f.Record()
	if err != nil {
		return nil, err
	}
	h := f.Fresh()
	h.Record = r
	h.Reported = f.reported()
	h.joined()
	return h, nil
}

// Fresh is what a host knows whose RecordFile is lost or damaged: the baked files, and nothing else.
func (f Files) Fresh() *Host {
	h := &Host{files: f, Record: &Record{Schema: RecordSchema}}
	h.Config, h.Anchor, h.Problem = f.baked()
	return h
}

// Reload reads the baked files again: an installation may have replaced them.
func (h *Host) Reload() {
	h.Config, h.Anchor, h.Problem = h.files.baked()
	h.joined()
}

// joined puts the settings of the fleet that took the host over in the place of what is baked.
func (h *Host) joined() {
	if h.Joined == nil || h.Bootstrap == nil || h.Config == nil || h.Config.Handover == nil ||
		h.Config.Handover.Root != h.Joined.Root {
		return
	}
	c, to := *h.Config, h.Config.Handover
	c.Fleet, c.Server, c.Fixed, c.Certificates = to.Fleet, to.Server, false, slices.Clone(to.Certificates)
	c.Keys, c.Threshold, c.Handover = to.Keys, to.Threshold, nil
	h.Config, h.Anchor = &c, h.Bootstrap.Anchor
}

// Save writes the host's Record.
func (h *Host) Save() error { return h.files.Write(h.Record) }

// SaveReported writes only what of the Record is news after a report.
func (h *Host) SaveReported() error { return h.files.writeReported(h.Record) }

// baked reads what the package brought along; nothing if there is no package.
func (f Files) baked() (*schema.AgentConfig, []byte, error) {
	const hint = "install this host's package again: bakehouse package get HOST -o FILE on the server, then dpkg -i " +
		"FILE here"
	name := f.Path(schema.ConfigFile(runtime.GOOS))
	b, err := ReadFile(name, schema.MaxAgentConfig)
	if err != nil || b == nil {
		return nil, nil, err
	}
	config, err := schema.DecodeAgentConfig(b)
	if err != nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s: %w", name, err), hint)
	}
	name = f.Path(schema.AnchorFile(runtime.GOOS))
	anchor, err := ReadFile(name, schema.MaxRoot)
	if err != nil {
		return nil, nil, err
	}
	if len(anchor) == 0 {
		return nil, nil, fault.Hint(fmt.Errorf("%s is missing or empty", name), hint)
	}
	if _, err := trust.Open("", anchor, f.Now); err != nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s: %w", name, err), hint)
	}
	return config, anchor, nil
}

// UncheckedConfig is the baked config even if something in it, such as a key, cannot be used; nil if it cannot be read.
func (f Files) UncheckedConfig() *schema.AgentConfig {
	b, err := ReadFile(f.Path(schema.ConfigFile(runtime.GOOS)), schema.MaxAgentConfig)
	if err != nil {
		return nil
	}
	var c schema.AgentConfig
	if schema.Decode(b, &c) != nil {
		return nil
	}
	return &c
}

// ErrUnregistered is what nothing but registration helps against.
var ErrUnregistered = fault.Hint(errors.New("this host is not registered"),
	"run bakehouse-agent register --server URL --host NAME --user USER")
