// Package upgrade pins host programs in a fleet repo: programs.cue, for each platform the version and SHA-256 of
// bakehouse-agent. Package program finds and makes the programs; this one reads and writes the CUE.
package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// FileName is the file at the root of a fleet repo that holds the pins and nothing else.
const FileName = "programs.cue"

// Change is what upgrading did to one platform's pin; Old is zero if there was none.
type Change struct {
	Platform schema.Platform
	Old, New fleet.Program
	Lacks    error // there is no program for this platform, which hosts have and nobody asked for; New is zero
}

// MarshalJSON leaves a pin out that is not there.
func (c Change) MarshalJSON() ([]byte, error) {
	type pin struct {
		Version string        `json:"version"`
		SHA256  schema.Digest `json:"sha256"`
	}
	of := func(p fleet.Program) *pin {
		if p == (fleet.Program{}) {
			return nil
		}
		return &pin{p.Version, p.SHA256}
	}
	lacks := ""
	if c.Lacks != nil {
		lacks = c.Lacks.Error()
	}
	return json.Marshal(struct {
		Platform schema.Platform `json:"platform"`
		Old      *pin            `json:"old,omitempty"`
		New      *pin            `json:"new,omitempty"`
		Lacks    string          `json:"lacks,omitempty"` // why there is no program
	}{c.Platform, of(c.Old), of(c.New), lacks})
}

func (c Change) String() string {
	pin := func(p fleet.Program) string { return p.Version + " (" + p.SHA256.Short() + ")" }
	switch {
	case c.Lacks != nil:
		return fmt.Sprintf("bakehouse: warning: %s is not pinned, and its hosts get no package: %v", c.Platform, c.Lacks)
	case c.Old == c.New:
		return fmt.Sprintf("%s: %s, unchanged", c.Platform, pin(c.New))
	case c.Old == fleet.Program{}:
		return fmt.Sprintf("%s: %s, new", c.Platform, pin(c.New))
	}
	return fmt.Sprintf("%s: %s -> %s", c.Platform, pin(c.Old), pin(c.New))
}

// Upgrade pins the programs that places hold for the platforms, as that version; other pins stay. With no platforms it
// takes those that are pinned, and those of hosts as far as there are programs for them. It returns one change per
// platform, in order; nothing is written unless all succeed.
func Upgrade(
	ctx context.Context, repo string, places program.Places, version string, platforms []schema.Platform,
) ([]Change, error) {
	name, err := packageName(repo)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(repo, FileName)
	pins, err := readPins(ctx, path)
	if err != nil {
		return nil, err
	}
	asked := len(platforms) > 0
	if !asked {
		platforms = slices.Concat(slices.Collect(maps.Keys(pins)), ofHosts(ctx, repo))
	}
	if len(platforms) == 0 {
		platforms, asked = program.Platforms, true
	}
	platforms = slices.Clone(platforms)
	slices.SortFunc(platforms, byText)
	var changes []Change
	for _, p := range slices.Compact(platforms) {
		b, err := places.Current(ctx, p, version)
		if _, pinned := pins[p]; errors.Is(err, fs.ErrNotExist) && !asked && !pinned && len(platforms) > 1 {
			changes = append(changes, Change{Platform: p, Lacks: err})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("host program for %s: %w", p, err)
		}
		pin := fleet.Program{Version: version, SHA256: schema.DigestOf(b)}
		changes = append(changes, Change{Platform: p, Old: pins[p], New: pin})
		pins[p] = pin
	}
	if i := slices.IndexFunc(changes, func(c Change) bool { return c.Lacks == nil }); i < 0 {
		return nil, fmt.Errorf("host program for %s: %w", changes[0].Platform, changes[0].Lacks)
	}
	text := renderPins(name, pins)
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return changes, nil
	}
	return changes, durable.WriteFile(path, []byte(text), 0o644)
}

// ofHosts are the platforms of the hosts, as the files in the folder have them. A fleet that does not evaluate yields
// none: whoever upgrades is not the one to be told of a rule.
func ofHosts(ctx context.Context, repo string) []schema.Platform {
	fsys, err := source.Worktree(repo)
	if err != nil {
		return nil
	}
	r, err := evaluate.Load(ctx, fsys, nil)
	if err != nil {
		return nil
	}
	var packaged []schema.Platform
	for p := range rules.Platforms(r.Fleet) {
		if len(p.Formats()) > 0 {
			packaged = append(packaged, p)
		}
	}
	return packaged
}

func byText(a, b schema.Platform) int { return strings.Compare(a.String(), b.String()) }

// packageName is the CUE package of the repo's root, taken from fleet.cue.
func packageName(repo string) (string, error) {
	path := filepath.Join(repo, "fleet.cue")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if lost := source.LostHere(repo, "fleet.cue"); lost != nil {
			return "", fault.Hint(fmt.Errorf("%s has no fleet.cue: %v", repo, lost), "restore it: %s", lost.Restore())
		}
		return "", fault.Hint(fmt.Errorf("%s is not a fleet repo: it has no fleet.cue", repo),
			"name its folder by --repo; `bakehouse init` makes a new one")
	}
	if err != nil {
		return "", err
	}
	name, fields, err := engine.Fields("fleet.cue", b)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", fmt.Errorf("%s has no package clause", path)
	}
	if at, ok := fields["programs"]; ok {
		return "", fault.Hint(fmt.Errorf("%s: programs are pinned here, where upgrade does not write", at),
			"remove the field; upgrade writes it to %s", FileName)
	}
	return name, nil
}

// readPins reads FileName; no file is no pins.
func readPins(ctx context.Context, path string) (map[schema.Platform]fleet.Program, error) {
	pins := map[schema.Platform]fleet.Program{}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pins, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := evaluate.LoadPins(ctx, FileName, b)
	if err != nil {
		return nil, fault.Hint(err, "correct the file, or remove it and run upgrade again")
	}
	for name, p := range found {
		platform, err := schema.ParsePlatform(name)
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("%s: %w", path, err),
				"correct the file, or remove it and run upgrade again")
		}
		pins[platform] = p
	}
	return pins, nil
}

// renderPins is FileName as cue fmt would leave it.
func renderPins(name string, pins map[schema.Platform]fleet.Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "// The host programs that packages carry. Written by `bakehouse upgrade`.\npackage %s\n\n", name)
	for _, p := range slices.SortedFunc(maps.Keys(pins), byText) {
		fmt.Fprintf(&b, "programs: %q: {\n\tversion: %q\n\tsha256:  %q\n}\n", p, pins[p].Version, pins[p].SHA256)
	}
	return b.String()
}
