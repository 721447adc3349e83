package evaluate

import (
	"fmt"
	"io/fs"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// accessSchema is the version of the access target's form.
const accessSchema = 1

// builder makes a fleet of evaluated directories, which it is given one by one, in order of paths.
type builder struct {
	fsys  fs.FS // for what is not CUE: roots and private keys
	fleet *fleet.Fleet
	ps    fleet.Problems

	hosts      map[string]*fleet.Host // by name in lower case
	former     []formerName
	inherited  map[*fleet.Folder]inherited
	used       map[*fleet.Condition]bool
	references []reference
	salvaged   []salvaged
	wanted     map[string]bool // plugins that rules are about
	failed     map[string]bool // plugins that did not evaluate

	sitesUnread bool // sites/ did not evaluate
}

// formerName is a name that a host had before.
type formerName struct {
	host *fleet.Host
	name string
	pos  fleet.Pos
}

// inherited are labels and tags of a folder's defaults, with those of the folders above.
type inherited struct{ labels, tags map[string]string }

// reference is a Match whose values must exist in the fleet.
type reference struct {
	match *fleet.Match
	pos   fleet.Pos
	kind  string
}

// salvaged is what a rule gives to a plugin, in a folder that the schema refuses.
type salvaged struct {
	plugin string
	fleet.Rule
}

func newBuilder(fsys fs.FS) *builder {
	return &builder{fsys: fsys, fleet: &fleet.Fleet{
		AnchorVersion: 1, Programs: map[schema.Platform]fleet.Program{}, Keys: map[string]*fleet.Key{},
		Folders: map[string]*fleet.Folder{}, Plugins: map[string]*fleet.Plugin{}, Sites: map[string]schema.Site{},
		SitePos: map[string]fleet.Pos{},
		Access:  schema.Access{Schema: accessSchema, Users: map[string]schema.User{}},
	}, hosts: map[string]*fleet.Host{},
		inherited: map[*fleet.Folder]inherited{}, used: map[*fleet.Condition]bool{},
		wanted: map[string]bool{}, failed: map[string]bool{}}
}

// problem notes what is wrong at n. The result may be completed until the next call.
func (b *builder) problem(n *result.Node, format string, args ...any) *fleet.Problem {
	return b.problemAt(n.At(), format, args...)
}

func (b *builder) problemAt(at fleet.Pos, format string, args ...any) *fleet.Problem {
	b.ps = append(b.ps, fleet.Problem{Pos: at, Msg: fmt.Sprintf(format, args...)})
	return &b.ps[len(b.ps)-1]
}

func (b *builder) warn(p fleet.Problem) { b.fleet.Warnings = append(b.fleet.Warnings, p) }

// duration reads a duration; a nil node is none.
func (b *builder) duration(n *result.Node) schema.Duration {
	if n == nil {
		return 0
	}
	d, err := schema.ParseDuration(n.Text)
	if err != nil {
		b.problem(n, "%v", err)
	}
	return d
}
