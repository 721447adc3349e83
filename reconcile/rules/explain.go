package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Explanation says what a host gets, and which line of the repo decides.
type Explanation struct {
	Host       string            `json:"host"`
	Folder     string            `json:"folder"`
	Pos        fleet.Pos         `json:"pos"`
	Retired    bool              `json:"retired,omitempty"` // then all that follows is empty
	Was        []string          `json:"was,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Selected   bool              `json:"selected"`
	Recipe     schema.RecipeID   `json:"recipe,omitempty"`
	Lacks      string            `json:"lacks,omitempty"` // why no package can be made for it; empty if one can
	Attributes []Explained       `json:"attributes"`
	Plugins    []PluginExplained `json:"plugins"`

	Content *Recipe `json:"-"` // what Recipe names
}

// PluginExplained is a plugin that some rule gives to the host. Enabled is false if a rule keeps it out again.
type PluginExplained struct {
	Name    string          `json:"name"`
	Enabled bool            `json:"enabled"`
	Combine fleet.Combine   `json:"combine"`
	Rules   []RuleExplained `json:"rules"` // all that are for the host, the strongest first
	Params  []Explained     `json:"params"`
}

// RuleExplained is a rule, and what it says of itself.
type RuleExplained struct {
	Pos     fleet.Pos `json:"pos"`
	Comment string    `json:"comment,omitempty"`
	Owner   string    `json:"owner,omitempty"`
}

// Explained is one value. Default is true if no rule sets it; then Pos is where the plugin declares it.
type Explained struct {
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value"`
	Pos     fleet.Pos       `json:"pos"`
	Default bool            `json:"default,omitempty"`
	Comment string          `json:"comment,omitempty"` // of the rule
	Owner   string          `json:"owner,omitempty"`
	Merges  []PartExplained `json:"merges,omitempty"` // the lists that were appended to make it
	Beats   []PartExplained `json:"beats,omitempty"`  // what weaker rules would have set
}

// PartExplained is what one of several rules gives to a parameter.
type PartExplained struct {
	Value json.RawMessage `json:"value"`
	Pos   fleet.Pos       `json:"pos"`
}

// ErrNoHost is returned for a host that the fleet does not have.
var ErrNoHost = errors.New("no such host in the fleet")

// Explain resolves one host, by the same rules as Resolve.
func Explain(ctx context.Context, f *fleet.Fleet, evaluator Evaluator, host string) (*Explanation, error) {
	i := slices.IndexFunc(f.Hosts, func(h *fleet.Host) bool { return h.Name == host })
	if i < 0 {
		return nil, fmt.Errorf("host %.80q: %w", host, ErrNoHost)
	}
	h := f.Hosts[i]
	if h.Retired {
		return &Explanation{Host: h.Name, Folder: h.Folder.Path, Pos: h.Pos, Retired: true, Was: h.Was}, nil
	}
	r := newResolver(f, evaluator)
	res := r.attributes(h)
	if res == nil {
		return nil, r.ps.WithoutTexts(f.Secrets()).Sorted()
	}
	rec, err := r.recipe(ctx, res, r.given(res))
	if err != nil {
		return nil, err
	}
	if len(r.ps) > 0 {
		return nil, r.ps.WithoutTexts(f.Secrets()).Sorted()
	}
	e := &Explanation{Host: h.Name, Folder: h.Folder.Path, Pos: h.Pos, Was: h.Was, Labels: h.Labels, Tags: h.Tags,
		Selected: res.Selected, Recipe: rec.ID,
		Attributes: explainAttributes(f, res), Content: rec}
	res.Recipe = rec
	e.Lacks = lacks(f, res)
	s := subject{host: h, site: res.Site, platform: res.Platform}
	for _, plugin := range plugins(h) {
		combined := combinePlugin(f, s, plugin)
		if len(combined.rules) == 0 {
			continue
		}
		p := PluginExplained{Name: plugin, Enabled: combined.enabled(), Combine: f.Plugins[plugin].Combine}
		for _, rule := range combined.rules {
			p.Rules = append(p.Rules, RuleExplained{rule.Pos, rule.Comment, rule.Owner})
		}
		if p.Params, err = explainParams(ctx, r, plugin, res, combined); err != nil {
			return nil, err
		}
		e.Plugins = append(e.Plugins, p)
	}
	e.hide(fleet.MaskOf(f.Secrets()))
	return e, nil
}

// hide takes secrets out of everything that holds one beside the parameters that are secret.
func (e *Explanation) hide(m fleet.Mask) {
	e.Labels, e.Tags, e.Lacks = maps.Clone(e.Labels), maps.Clone(e.Tags), m.Text(e.Lacks)
	for _, texts := range []map[string]string{e.Labels, e.Tags} {
		for name, text := range texts {
			texts[name] = m.Text(text)
		}
	}
	for i := range e.Attributes {
		e.Attributes[i].hide(m)
	}
	for _, p := range e.Plugins {
		for i := range p.Rules {
			p.Rules[i].Comment, p.Rules[i].Owner = m.Text(p.Rules[i].Comment), m.Text(p.Rules[i].Owner)
		}
		for i := range p.Params {
			p.Params[i].hide(m)
		}
	}
}

func (x *Explained) hide(m fleet.Mask) {
	x.each(m.JSON)
	x.Comment, x.Owner = m.Text(x.Comment), m.Text(x.Owner)
}

func explainAttributes(f *fleet.Fleet, res *Result) (out []Explained) {
	combined := combineAttributes(res.Host)
	force := map[string]string{fleet.AttrPlatform: res.Platform.String(), fleet.AttrFormat: string(res.Format),
		fleet.AttrSite: res.Site, fleet.AttrRing: res.Ring}
	for _, name := range []string{fleet.AttrPlatform, fleet.AttrFormat, fleet.AttrSite, fleet.AttrRing} {
		text, _ := json.Marshal(force[name])
		x := Explained{Name: name, Value: text, Default: true}
		if combined.params[name] != nil {
			x = combined.explained(name)
		} else if name == fleet.AttrRing {
			for _, ring := range f.Rollout.Rings {
				if ring.Name == res.Ring {
					x.Pos, x.Default = ring.Pos, ring.Pos.IsZero()
				}
			}
		}
		out = append(out, x)
	}
	if combined.params[fleet.AttrRetireAfter] != nil {
		out = append(out, combined.explained(fleet.AttrRetireAfter))
	}
	return out
}

func explainParams(ctx context.Context, r *resolver, plugin string, res *Result, s *combined) (out []Explained,
	err error) {
	in := inputs(r.fleet, plugin, res)
	in.Fleet = r.fleet.Info(res.Platform)
	p := r.fleet.Plugins[plugin]
	all := map[string]fleet.Value{}
	if s.enabled() { // else it may lack parameters that it needs
		if all, err = r.plugins.Settings(ctx, plugin, in, values(s.params)); err != nil {
			return nil, err
		}
	}
	declared := map[string]fleet.Pos{}
	for _, param := range p.Params {
		declared[param.Name] = param.Pos
	}
	for name := range s.params {
		x := s.explained(name)
		if v, ok := all[name]; ok {
			x.Value = v.JSON // a struct may have got defaults besides what the rule sets
		}
		out = append(out, x)
	}
	for name, v := range all {
		if s.params[name] == nil {
			out = append(out, Explained{Name: name, Value: v.JSON, Pos: declared[name], Default: true,
				Beats: explainParts(s.passed[name])})
		}
	}
	for i := range out {
		if param, ok := p.Param(out[i].Name); ok {
			out[i].each(param.Shown)
		}
		out[i].each(withoutUser)
	}
	slices.SortFunc(out, func(a, b Explained) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// each replaces the values, and leaves the places.
func (x *Explained) each(by func(json.RawMessage) json.RawMessage) {
	x.Value = by(x.Value)
	for _, parts := range [][]PartExplained{x.Merges, x.Beats} {
		for i := range parts {
			parts[i].Value = by(parts[i].Value)
		}
	}
}

// userOfURL is what may hold a password in the address of a proxy, say.
var userOfURL = regexp.MustCompile(`://[^/?#@"\s]+@`)

func withoutUser(value json.RawMessage) json.RawMessage {
	return userOfURL.ReplaceAll(value, []byte("://hidden@"))
}

func (s *combined) explained(name string) Explained {
	set, by := s.params[name], s.by[name]
	x := Explained{Name: name, Value: set.JSON, Pos: set.Pos, Merges: explainParts(set.Parts),
		Beats: explainParts(set.Shadowed)}
	if len(set.Parts) == 0 { // else it is not one rule's
		x.Comment, x.Owner = by.Comment, by.Owner
	}
	return x
}

func explainParts(parts []Part) (out []PartExplained) {
	for _, p := range parts {
		out = append(out, PartExplained{p.JSON, p.Pos})
	}
	return out
}
