package evaluate

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cuelang.org/go/cue"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// output yields what the plugin puts on a host.
func (p *plugin) output(ctx context.Context, params map[string]fleet.Value, in fleet.Inputs) (*fleet.Output, error) {
	var out *fleet.Output
	var sources []pending
	err := p.evaluate(ctx, params, in, func(v cue.Value) (err error) {
		out, sources, err = p.decode(v, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := p.settle(ctx, out, sources); err != nil {
		return nil, err
	}
	return out, nil
}

// settings are all parameters with their values in force, defaults included.
func (p *plugin) settings(ctx context.Context, params map[string]fleet.Value, in fleet.Inputs) (map[string]fleet.Value, error) {
	var out map[string]fleet.Value
	err := p.evaluate(ctx, params, in, func(v cue.Value) error {
		n, err := toNode(v.LookupPath(paramsPath), p.l.Nodes)
		if err == nil {
			out = values(n)
		}
		return err
	})
	return out, err
}

// evaluate fills in the inputs and gives the value to use, within the limits.
func (p *plugin) evaluate(ctx context.Context, params map[string]fleet.Value, in fleet.Inputs, use func(cue.Value) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead != nil {
		return p.dead
	}
	var failed error
	err := p.l.bounded(ctx, func() {
		c, value := p.context()
		if failed = p.fill(c, &value, in, params, true); failed != nil {
			return
		}
		if err := value.LookupPath(pluginPath).Validate(cue.Concrete(true)); err != nil {
			failed = p.problems(err, value)
			return
		}
		failed = use(value)
	})
	if err != nil {
		p.dead = fmt.Errorf("plugin %s: %w", p.Name, err)
		return p.dead
	}
	return failed
}

var unset = regexp.MustCompile(`^plugin\.params\.(\S+?): (incomplete value|\S+ is missing)`)

// problems words what CUE says of an evaluation: a parameter without a value is the rules' fault, all else follows.
func (p *plugin) problems(err error, value cue.Value) fleet.Problems {
	var missing fleet.Problems
	all := problemsOf(err, value)
	for _, found := range all {
		if m := unset.FindStringSubmatch(found.Msg); m != nil {
			missing = append(missing, fleet.Problem{Pos: found.Pos, Msg: fmt.Sprintf("plugin %s needs the parameter %s, which no rule sets", p.Name, m[1]),
				Hint: "set it by a rule, or give it a default in the plugin"})
		}
	}
	if len(missing) > 0 {
		return missing
	}
	for i := range all {
		all[i].Msg = "plugin " + p.Name + ": " + strings.TrimPrefix(all[i].Msg, "plugin.")
	}
	return all
}

// decode reads the evaluated plugin.
func (p *plugin) decode(v cue.Value, in fleet.Inputs) (*fleet.Output, []pending, error) {
	d := decoder{p: p, in: in}
	out := &fleet.Output{Plugin: p.Name}
	section := func(name string) *node {
		part := v.LookupPath(cue.MakePath(cue.Str("plugin"), cue.Str(name)))
		if !part.Exists() {
			return nil
		}
		n, err := toNode(part, d.p.l.Nodes)
		if err != nil {
			d.refuse(n, "%s: %v", name, err)
		}
		return n
	}
	if n := section("files"); n != nil {
		for _, i := range n.order() {
			d.index = len(out.Files)
			out.Files = append(out.Files, d.file(n.names[i], n.fields[i]))
		}
	}
	if n := section("services"); n != nil {
		for _, i := range n.order() {
			out.Services = append(out.Services, d.service(n.names[i], n.fields[i]))
		}
	}
	if n := section("intervals"); n != nil {
		for _, i := range n.order() {
			out.Intervals = append(out.Intervals, d.interval(n.names[i], n.fields[i]))
		}
	}
	if n := section("users"); n != nil {
		for _, i := range n.order() {
			out.Users = append(out.Users, d.user(n.names[i], n.fields[i]))
		}
	}
	out.Groups = d.groups(section("groups"))
	out.Relations = d.relations(section("relations"))
	out.Scripts = d.scripts(section("scripts"))
	d.twice(out)
	if n := section("health"); n != nil && len(n.names) > 0 {
		out.Health = d.health(n)
	}
	if err := d.ps.Err(); err != nil {
		return nil, nil, err
	}
	return out, d.pending, nil
}

// decoder checks what a plugin yields. Parameters have gone into it, so nothing is taken to be well-formed.
type decoder struct {
	p  *plugin
	in fleet.Inputs
	ps fleet.Problems

	pending []pending
	index   int // of the file
}

func (d *decoder) refuse(n *node, format string, args ...any) {
	at := n.at()
	if at.IsZero() {
		at = fleet.Pos{File: d.p.Home}
	}
	d.ps = append(d.ps, fleet.Problem{Pos: at, Msg: "plugin " + d.p.Name + ": " + fmt.Sprintf(format, args...)})
}

func (d *decoder) file(name string, n *node) fleet.File {
	f := fleet.File{Path: name, Mode: 0o644, Pos: n.at()}
	if err := checkPath(name, d.p.Name); err != nil {
		d.refuse(n, "file %s: %v", quote(name), err)
	}
	if mode := n.get("mode"); mode != nil {
		bits, err := strconv.ParseUint(mode.text, 10, 16)
		if err != nil || bits > 0o777 {
			d.refuse(mode, "file %s: mode %s is outside 0o000 to 0o777", name, mode.text)
		}
		f.Mode = fs.FileMode(bits)
	}
	f.Owner, f.Group = d.owner(n.get("owner"), name), d.owner(n.get("group"), name)
	content, source, program := n.get("content"), n.get("source"), n.get("program")
	kinds := 0
	for _, part := range []*node{content, source, program} {
		if part != nil {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		d.refuse(n, "file %s has not exactly one of content, source and program", name)
	case content != nil:
		f.Content = []byte(content.text)
		f.SHA256, f.Size = schema.DigestOf(f.Content), int64(len(f.Content))
	case program != nil:
		f.Program, f.SHA256, f.Size = true, d.in.Fleet.Program, -1
	default:
		d.source(&f, source)
	}
	return f
}

// checkPath accepts what a package may put on a host.
func checkPath(name, plugin string) error {
	switch {
	case !path.IsAbs(name) || path.Clean(name) != name || name == "/":
		return fmt.Errorf("the path is not absolute and clean")
	case len(name) > 1024 || !utf8.ValidString(name) || control(name):
		return fmt.Errorf("the path is too long or holds control characters")
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 255 {
			return fmt.Errorf("a part of the path is longer than 255 bytes")
		}
	}
	for _, dir := range []string{schema.StateDir, schema.VersionDir, "/proc", "/sys", "/dev", "/run"} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return fmt.Errorf("nothing can be installed in %s", dir)
		}
	}
	if dir := path.Dir(schema.ConfigFile); plugin != fleet.UpdaterPlugin && (name == dir || strings.HasPrefix(name, dir+"/")) {
		return fmt.Errorf("%s is the updater's alone", dir)
	}
	return nil
}

// control reports whether s holds characters that mean something to whoever reads units, scripts or terminals.
func control(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

func (d *decoder) service(name string, n *node) fleet.Service {
	s := fleet.Service{Name: name, Description: n.get("description").str(), Exec: n.get("exec").str(), User: n.get("user").str(),
		EnvironmentFile: n.get("environmentFile").str(), Restart: n.get("restart").str(), Enable: true, Pos: n.at()}
	if e := n.get("enable"); e != nil {
		s.Enable = e.is()
	}
	if s.Restart == "" {
		s.Restart = "always"
	}
	if s.Description == "" {
		s.Description = name
	}
	d.program(n, "service", name)
	s.Listen, s.Allow = d.listen(name, n.get("listen")), d.allow(name, n.get("allow"))
	s.Directories = d.directories(name, n)
	return s
}

func (d *decoder) health(n *node) *schema.HealthCheck {
	h := &schema.HealthCheck{Plugin: d.p.Name, Command: n.get("command").strs(), Within: schema.Duration(30 * time.Second)}
	if w := n.get("within"); w != nil {
		var err error
		if h.Within, err = schema.ParseDuration(w.text); err != nil || time.Duration(h.Within) < time.Second || time.Duration(h.Within) > time.Hour {
			d.refuse(w, "health: within %s is not a duration from 1s to 1h", quote(w.text))
		}
	}
	if len(h.Command) == 0 || !path.IsAbs(h.Command[0]) || slices.ContainsFunc(h.Command, control) {
		d.refuse(n.get("command"), "health: command is not an absolute path and arguments without control characters")
	}
	return h
}
