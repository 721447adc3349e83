package evaluate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// edge is a part of a parameter of a shipped plugin, with values to try, as testdata/edges.txt has it.
type edge struct {
	name, in string
	ok, no   []string // to be taken, to be refused
	try      []string
}

func (e edge) plugin() string {
	plugin, _, _ := strings.Cut(e.name, ".")
	return plugin
}

// wrongAnywhere are values that are at the edge of what most parameters take, or of another type.
var wrongAnywhere = []string{`""`, `" "`, `" x"`, `"x "`, `"a\nb"`, `"a\tb"`, `"\u0000"`, `"é"`, `"\u2028"`, `"-x"`,
	`"../x"`, `"%n"`, `"$(id)"`, `"a'b\"c\\d"`,
	`"` + strings.Repeat("a", 5000) + `"`, `0`, `-1`, `99999999999999999999`,
	`1.5`, `true`, `null`, `[]`, `[""]`, `["a", "a"]`, `["a\nb"]`, `{}`, `{a: 1}`}

// base is what a plugin needs besides, in the repo of repoOfEdges.
var base = map[string]string{"zabbix_agent2": `package: "z.tar"`, "node_exporter": `program: "p"`,
	"windows_exporter": `program: "p"`,
	"checkmk":          `agent: "p", only_from: "192.0.2.1"`}

func edges(t *testing.T) (all []edge) {
	t.Helper()
	b, err := os.ReadFile("testdata/edges.txt")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pair(t, "PRIVATE KEY", pkcs8)
	public, _ := pair(t, "PRIVATE KEY", pkcs8)
	if text, err := strconv.Unquote(public); err == nil {
		block, _ := pem.Decode([]byte(text))
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		public = fmt.Sprintf("%q", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY",
			Bytes: c.RawSubjectPublicKeyInfo}))
	}
	text := strings.NewReplacer("@cert", cert, "@key", key, "@public", public).Replace(string(b))
	for _, line := range strings.Split(text, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || word == "#":
		case word == "in":
			all[len(all)-1].in = rest
		case word == "ok":
			all[len(all)-1].ok = append(all[len(all)-1].ok, rest)
		case word == "no":
			all[len(all)-1].no = append(all[len(all)-1].no, rest)
		case word == "try":
			all[len(all)-1].try = append(all[len(all)-1].try, rest)
		default:
			all = append(all, edge{name: line})
		}
	}
	return all
}

// leaves are the parts of a parameter that have no parts of their own, as names of testdata/edges.txt.
func leaves(v cue.Value, at string, found map[string]bool) {
	if op, args := v.Expr(); op == cue.OrOp {
		for _, arg := range args {
			leaves(arg, at, found)
		}
		return
	}
	if to := cue.Dereference(v); to != v {
		if op, _ := to.Expr(); op == cue.OrOp {
			leaves(to, at, found)
			return
		}
	}
	switch {
	case v.IncompleteKind()&cue.StructKind != 0:
		patterns, fields := 0, 0
		for it, err := v.Fields(cue.Optional(true), cue.Patterns(true)); err == nil && it.Next(); fields++ {
			if it.Selector().ConstraintType() == cue.PatternConstraint {
				patterns++
			}
		}
		if fields == 0 {
			found[at] = true
		}
		for it, err := v.Fields(cue.Optional(true), cue.Patterns(true)); err == nil && it.Next(); {
			name := "*"
			if s := it.Selector(); s.ConstraintType() != cue.PatternConstraint {
				name = s.Unquoted()
			} else if _, args := s.Pattern().Expr(); patterns > 1 && len(args) == 1 {
				if re, err := args[0].String(); err == nil {
					name = "~" + re
				}
			}
			leaves(it.Value(), at+"."+name, found)
		}
	case v.IncompleteKind()&cue.ListKind != 0:
		item := v.LookupPath(cue.MakePath(cue.AnyIndex))
		if item.Exists() && item.IncompleteKind()&cue.StructKind != 0 {
			leaves(item, at+".*", found)
			return
		}
		found[at] = true
	default:
		found[at] = true
	}
}

func TestEveryParameterOfTheShippedPluginsHasValuesToTry(t *testing.T) {
	want := map[string]bool{}
	for _, plugin := range ShippedNames() {
		b, err := fs.ReadFile(shipped, path.Join(shippedDir, plugin, "plugin.cue"))
		if err != nil {
			t.Fatal(err)
		}
		params := cuecontext.New().CompileBytes(b).LookupPath(cue.ParsePath("plugin.params"))
		for it, err := params.Fields(cue.Optional(true)); err == nil && it.Next(); {
			leaves(it.Value(), plugin+"."+it.Selector().Unquoted(), want)
		}
	}
	for _, e := range edges(t) {
		if delete(want, e.name); !strings.Contains(e.in, "%s") || len(e.ok) == 0 {
			t.Errorf("%s: no place, or nothing that is in order", e.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		t.Errorf("testdata/edges.txt has nothing to try for %s", name)
	}
}

func repoOfEdges(t *testing.T) *Repo {
	t.Helper()
	key := func(name, text, use string) string {
		return string(fleet.KeyFile(fleet.Key{Name: name, Public: strings.Replace(testKey, "Gb9E", text, 1),
			Uses: []string{use}}))
	}
	rules := "package all\nrules: {"
	for _, plugin := range ShippedNames() {
		rules += plugin + ": [{value: {}}]\n"
	}
	fsys := repo(map[string]string{
		"keys/keys.cue":     key("one", "Gb9E", fleet.UsePackage),
		"keys/two.cue":      key("two", "Hb9E", fleet.UsePackage),
		"keys/root.cue":     key("root", "Ib9E", fleet.UseRoot),
		"trust/1.root.json": "{}\n",
		"programs.cue": "package fleet\nprograms: \"linux/amd64\": {version: \"1.2.3\", sha256: \"" +
			schema.DigestOf([]byte(someProgram)).String() + "\"}\n",
		"p": someProgram, "z.tar": tarOf(t, "./usr/sbin/zabbix_agent2", someProgram),
		"tree/x": someProgram, "hosts/all/r.cue": rules + "}\n",
	})
	f, err := load(t.Context(), fsys, nil, engine.New(engine.DefaultLimits))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const someProgram = "#!/bin/sh\n"

// onlyProgram is every file of the repo of edges.
type onlyProgram struct{}

func (onlyProgram) Open(f fleet.File, _ schema.Platform) (io.ReadCloser, error) {
	if f.URL != "" {
		return nil, errFetched
	}
	return io.NopCloser(strings.NewReader(someProgram)), nil
}

var errFetched = fmt.Errorf("it would have to be fetched")

// objects is a store.
type objects map[string][]byte

func (o objects) Open(_ context.Context, key string) (io.ReadCloser, error) {
	b, ok := o[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (o objects) Create(_ context.Context, key string, r io.Reader) error {
	if _, ok := o[key]; ok {
		return fs.ErrExist
	}
	b, err := io.ReadAll(r)
	o[key] = b
	return err
}

// verdict is what check says of a rule's value, and what the plugin makes of it.
func verdict(t *testing.T, f *Repo, plugin, value string) (*fleet.Output, error) {
	t.Helper()
	ps := checked(t, f, plugin, value)
	for name, v := range given(t, value) {
		if name == "keys" && plugin == fleet.UpdaterPlugin {
			b := builder{fleet: f.Fleet}
			ps = append(ps, b.keysProblems(v)...)
		}
		param, _ := f.Plugins[plugin].Param(name)
		ps = append(ps, param.CheckForms(v)...)
	}
	if len(ps) > 0 {
		return nil, ps
	}
	return outputOf(t, f, plugin, value)
}

// A value that check takes and that fails later is a green pull request and a red main, or a host that goes back.
func TestWhatCheckTakesIsTakenByWhoeverReadsItLast(t *testing.T) {
	f := repoOfEdges(t)
	last := &reader{t: t, baker: bake.New(objects{}, onlyProgram{}), seen: map[schema.Digest]bool{}, dir: t.TempDir(),
		agents: agentsOf(t)}
	defer last.baker.Close()
	stride := needs.Every(1)
	for n, e := range edges(t) {
		if n%stride != 0 {
			continue
		}
		param := strings.Split(e.name, ".")[1]
		more := wrongAnywhere
		if !needs.Everything() { // some for each, so that it does not take a minute
			more = nil
			step := needs.Every(7)
			for i := n % step; i < len(wrongAnywhere); i += step {
				more = append(more, wrongAnywhere[i])
			}
		}
		for i, v := range slices.Concat(e.ok, e.no, e.try, more) {
			value := strings.Replace(e.in, "%s", v, 1)
			for field := range strings.SplitSeq(base[e.plugin()], ", ") {
				if name, _, _ := strings.Cut(field, ":"); name != param && field != "" {
					value = field + ", " + value
				}
			}
			out, err := verdict(t, f, e.plugin(), value)
			switch {
			case err == nil && slices.Contains(e.no, v):
				t.Errorf("%s: %.100s is taken", e.name, v)
			case err == nil:
				last.read(e, value, out)
			case i < len(e.ok):
				t.Errorf("%s: %.100s is refused: %v", e.name, v, err)
			case !strings.Contains(err.Error(), "hosts/given.cue:2:"):
				t.Errorf("%s: %.100s is refused elsewhere than where it is written: %v", e.name, v, err)
			}
		}
	}
	last.units()
	if len(last.seen) < 100/stride {
		t.Errorf("%d outputs", len(last.seen))
	}
}

// reader is who reads last what plugins make.
type reader struct {
	t     *testing.T
	baker *bake.Baker
	seen  map[schema.Digest]bool
	dir   string
	of    []string // the value that each unit is made of
	agents
}

// read has an output baked, and its files read as their agents read them.
func (r *reader) read(e edge, value string, out *fleet.Output) {
	b, err := json.Marshal(out)
	if err != nil {
		r.t.Fatal(err)
	}
	digest := schema.DigestOf(b)
	if r.seen[digest] {
		return
	}
	r.seen[digest] = true
	refused := func(by string, err error) {
		r.t.Errorf("%s: check takes %.200s, and %s does not: %v", e.name, value, by, err)
	}
	anchor := digest
	if e.plugin() == fleet.UpdaterPlugin {
		anchor = schema.DigestOf([]byte("{}\n"))
	}
	platform := platformOf(e.plugin())
	recipe := &rules.Recipe{ID: schema.RecipeID(digest.Short()), Platform: platform, Outputs: []*fleet.Output{out}}
	for _, format := range platform.Formats() {
		if _, err := r.baker.Bake(r.t.Context(), recipe, format, anchor); err != nil &&
			!strings.Contains(err.Error(), errFetched.Error()) {
			refused("bake ("+string(format)+")", err)
		}
	}
	for _, file := range out.Files {
		if err := readFileAsItsAgent(r.t, file, given(r.t, value)); err != nil {
			refused("the reader of "+file.Path, err)
		}
	}
	if err := r.agents.read(r.t, e, out); err != nil {
		refused("its agent", err)
	}
	for _, s := range out.Services {
		if platform.OS != "linux" {
			continue // no unit of systemd
		}
		r.of = append(r.of, e.name+": "+value)
		name := filepath.Join(r.dir, fmt.Sprintf("u%d.service", len(r.of)))
		// Programs of the package are not here.
		_, arguments, _ := strings.Cut(s.Exec, " ")
		line := "[Service]\nExecStart=/bin/true " + arguments + "\nUser=" + s.User + "\n"
		for _, a := range s.Allow {
			line += "IPAddressAllow=" + a + "\n"
		}
		if err := os.WriteFile(name, []byte(line), 0o600); err != nil {
			r.t.Fatal(err)
		}
		for i, at := range s.Listen {
			socket := fmt.Sprintf("[Socket]\nListenStream=%s\nAccept=yes\n", at)
			name := filepath.Join(r.dir, fmt.Sprintf("u%d-%d@.service", len(r.of), i))
			if err := os.WriteFile(name, []byte(line), 0o600); err != nil {
				r.t.Fatal(err)
			}
			name = filepath.Join(r.dir, fmt.Sprintf("u%d-%d.socket", len(r.of), i))
			if err := os.WriteFile(name, []byte(socket), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// units has systemd read all units.
func (r *reader) units() {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if needs.Everything() {
			r.t.Error(err)
		}
		return
	}
	names, err := filepath.Glob(filepath.Join(r.dir, "u*.*"))
	if err != nil || len(names) == 0 {
		r.t.Fatalf("no unit: %v", err)
	}
	names = slices.DeleteFunc(names, func(s string) bool { return strings.HasSuffix(s, "@.service") })
	told, _ := exec.CommandContext(r.t.Context(), analyze, append([]string{"verify", "--man=no"}, names...)...).
		CombinedOutput()
	for line := range strings.Lines(string(told)) {
		if strings.Contains(line, "this is not safe!") { // the user nobody, who is the author's choice
			continue
		}
		for i, of := range r.of {
			unit := fmt.Sprintf("u%d", i+1)
			if strings.Contains(line, unit+".service") || strings.Contains(line, unit+"-") {
				r.t.Errorf("%.200s\nsystemd: %s", of, line)
			}
		}
	}
}

// readFileAsItsAgent reads a file as what it is for does.
func readFileAsItsAgent(t *testing.T, f fleet.File, value map[string]fleet.Value) error {
	switch f.Path {
	case schema.ConfigFile("linux"):
		_, err := schema.DecodeAgentConfig(f.Content)
		return err
	case "/etc/check_mk/encryption.cfg":
		name := filepath.Join(t.TempDir(), "encryption.cfg")
		if err := os.WriteFile(name, f.Content, 0o600); err != nil {
			return err
		}
		const script = `. "$1"; printf %s "$PASSPHRASE"`
		got, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", script, "sh", name).Output()
		if want := value["passphrase"].Text(); err == nil && string(got) != want {
			return fmt.Errorf("sh reads the passphrase %q, not %q", got, want)
		}
		return err
	case "/etc/check_mk/mrpe.cfg":
		for line := range strings.Lines(string(f.Content)) {
			name, command, _ := strings.Cut(line, " ")
			if name == "" || strings.TrimSpace(command) == "" || strings.HasPrefix(line, "#") {
				return fmt.Errorf("the line %q is not a name and a command", line)
			}
		}
	case "/etc/zabbix_agent2/agent.conf":
		for line := range strings.Lines(string(f.Content)) {
			name, _, ok := strings.Cut(line, "=")
			if !strings.HasPrefix(line, "#") && (!ok || strings.ContainsAny(name, " \t") || name == "") {
				return fmt.Errorf("the line %q is not a setting", line)
			}
		}
	}
	return nil
}
