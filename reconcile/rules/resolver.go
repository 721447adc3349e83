package rules

import (
	"errors"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// resolver evaluates each distinct input once.
type resolver struct {
	fleet   *fleet.Fleet
	plugins Evaluator
	classes map[*fleet.Folder]class
	groups  map[string]*group
	outputs map[string]*output // by plugin, platform, host fields and parameters
	recipes map[string]*Recipe // by the numbers of the outputs
	byID    map[schema.RecipeID]*Recipe
	ps      fleet.Problems
	told    fleet.Problems // what plugins warn of
	noted   map[string]bool
	uses    map[*fleet.Rule]*use // nil: nobody asks
	anyKeys map[fleet.Pos]bool   // thresholds of hosts for which no rule says whose keys count
}

func newResolver(f *fleet.Fleet, plugins Evaluator) *resolver {
	return &resolver{fleet: f, plugins: plugins, classes: map[*fleet.Folder]class{}, groups: map[string]*group{},
		outputs: map[string]*output{}, anyKeys: map[fleet.Pos]bool{},
		recipes: map[string]*Recipe{}, byID: map[schema.RecipeID]*Recipe{}, noted: map[string]bool{}}
}

type output struct {
	*fleet.Output
	number int // among the resolver's outputs
	ok     bool
}

// group is hosts that the same rules can reach and that no condition and no attribute tells apart: what rules say of
// one, they say of all. There are few groups even in a large fleet, so resolution costs little for each further host.
type group struct {
	Result          // without Host; without Recipe too, if hosts of the group can have different ones
	plugins []given // in every package of the group, by name
}

// given is a plugin in a host's package.
type given struct {
	plugin string
	*combined
	output *output // nil: it depends on more than the group
}

// class is what hosts of a folder have in common with those of other folders.
type class struct {
	key   string         // equal for folders that the same rules and defaults reach, and that no condition tells apart
	names []*fleet.Names // in conditions that hosts of the folder can meet
}

// use is what became of a folder's rule on all hosts.
type use struct {
	matched bool
	decides bool        // it sets something on some host, or is the first that asks for its plugin
	beaten  *fleet.Rule // the strongest rule on some host where it does not
	lost    []loss      // what of it stronger rules replace on some host
}

// loss is a value of a rule that a stronger rule replaces.
type loss struct {
	what string // the parameter, and the fields of one that adds up by key
	host string // the first where it is so
	by   fleet.Pos
}

// blame notes what is wrong with a plugin's evaluation, with the host that shows it and a rule that asks for it.
func (r *resolver) blame(err error, h *fleet.Host, at fleet.Pos) error {
	var ps fleet.Problems
	if !errors.As(err, &ps) {
		return err
	}
	for _, p := range ps {
		switch {
		case at.IsZero() || at.File == p.Pos.File:
		case p.Pos.IsBuiltin(): // which nobody can change
			p.Pos, p.Also = at, append([]fleet.Pos{p.Pos}, p.Also...)
		default:
			p.Also = append(p.Also, at)
		}
		r.note(p, h)
	}
	return nil
}

// note keeps a problem once, with the first host that shows it.
func (r *resolver) note(p fleet.Problem, h *fleet.Host) { r.once(&r.ps, p, h) }

// warn keeps a warning likewise.
func (r *resolver) warn(p fleet.Problem, h *fleet.Host) { r.once(&r.told, p, h) }

func (r *resolver) once(to *fleet.Problems, p fleet.Problem, h *fleet.Host) {
	key := p.Pos.String() + p.Msg
	if r.noted[key] {
		return
	}
	r.noted[key] = true
	p.Msg += " (host " + h.Name + ")"
	*to = append(*to, p)
}
