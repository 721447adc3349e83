package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"

	"bakehouse/schema"
)

// limits bounds what hostile files can cost. CUE cannot be interrupted, so a directory that exceeds Time or Memory is
// left running in its goroutine and the caller gives up: right for a command, which then ends.
type limits struct {
	Time   time.Duration // per directory or evaluation
	Memory uint64        // heap of the whole process, in bytes
	File   int64         // bytes of one CUE file
	Nodes  int           // values in a directory
}

var defaultLimits = limits{Time: 30 * time.Second, Memory: 4 << 30, File: 8 << 20, Nodes: 4 << 20}

// bounded runs work, gives up on it when it exceeds the limits, and turns its panics into errors.
func (l limits) bounded(ctx context.Context, work func()) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("CUE fails on it: %v", r)
			}
		}()
		work()
		done <- nil
	}()
	deadline := time.NewTimer(l.Time)
	defer deadline.Stop()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("evaluation stopped: %w", context.Cause(ctx))
		case <-deadline.C:
			return fmt.Errorf("evaluation takes longer than %s", l.Time)
		case <-tick.C:
			if heap() > l.Memory {
				return fmt.Errorf("evaluation takes more than %d MB of memory", l.Memory>>20)
			}
		}
	}
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// dir is a directory of CUE files, parsed.
type dir struct {
	path  string // in the repo; "." for the top
	pkg   string
	files []source
}

// source is one file. Each context parses it anew, because building annotates the syntax tree.
type source struct {
	name   string // as in positions
	data   []byte
	clause Pos
}

// builtins are the packages that may be imported: those of CUE that depend on their arguments only.
var builtins = []string{"crypto/hmac", "crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512", "encoding/base64",
	"encoding/csv", "encoding/hex", "encoding/json", "encoding/toml", "encoding/yaml", "html", "list", "math",
	"math/bits", "net", "path", "regexp", "strconv", "strings", "struct", "text/tabwriter", "text/template", "time",
	"uuid"}

// isCUE reports whether cue itself would take the file into a package.
func isCUE(name string) bool {
	return strings.HasSuffix(name, ".cue") && name[0] != '_' && name[0] != '.' &&
		!strings.HasSuffix(name, "_tool.cue") && !strings.HasSuffix(name, "_test.cue")
}

// readDir parses the CUE files among entries, which are those of the directory name. It is nil if there are none.
func readDir(fsys fs.FS, name string, entries []fs.DirEntry, l limits) (*dir, Problems) {
	var ps Problems
	d := &dir{path: name}
	for _, e := range entries {
		if e.IsDir() || !isCUE(e.Name()) {
			continue
		}
		file := path.Join(name, e.Name())
		if !e.Type().IsRegular() {
			ps = append(ps, Problem{Pos: Pos{File: file}, Msg: "is not a regular file", Hint: "symbolic links are not followed: put the file itself here"})
			continue
		}
		data, err := readFile(fsys, file, l.File)
		if err != nil {
			ps = append(ps, Problem{Pos: Pos{File: file}, Msg: err.Error()})
			continue
		}
		if isPointer(data) {
			ps = append(ps, pointerProblem(Pos{File: file}))
			continue
		}
		s, found := checkSource(file, data)
		ps = append(ps, found...)
		if len(found) > 0 {
			continue
		}
		if d.pkg != "" && s.pkg != d.pkg {
			ps = append(ps, Problem{Pos: s.clause, Msg: fmt.Sprintf("package %s, but other files of this folder say package %s", s.pkg, d.pkg),
				Hint: "a folder is one package", Also: []Pos{d.files[0].clause}})
			continue
		}
		d.pkg = s.pkg
		d.files = append(d.files, s.source)
	}
	if len(d.files) == 0 {
		return nil, ps
	}
	return d, ps
}

type checked struct {
	source
	pkg string
}

// checkSource refuses what plain evaluation would let through or what would make cue see another file than we do.
func checkSource(name string, data []byte) (checked, Problems) {
	var c checked
	f, err := parse(name, data)
	if err != nil {
		return c, problemsOf(err, cue.Value{})
	}
	var ps Problems
	for _, decl := range f.Preamble() {
		if a, ok := decl.(*ast.Attribute); ok {
			ps = append(ps, Problem{Pos: posOf(a.Pos()), Msg: fmt.Sprintf("the file attribute %.60s is not supported", a.Text),
				Hint: "what a file says may not depend on how it is loaded: remove it"})
		}
	}
	c.pkg = f.PackageName()
	if c.pkg == "" || c.pkg == "_" {
		return c, append(ps, Problem{Pos: Pos{File: name, Line: 1, Col: 1}, Msg: "no package clause",
			Hint: fmt.Sprintf("start the file with `package %s`", clauseFor(name))})
	}
	for _, decl := range f.Decls {
		if p, ok := decl.(*ast.Package); ok {
			c.clause = posOf(p.Name.Pos())
		}
	}
	for spec := range f.ImportSpecs() {
		imported, _, _ := strings.Cut(strings.Trim(spec.Path.Value, `"#`), ":")
		if !slices.Contains(builtins, imported) {
			ps = append(ps, Problem{Pos: posOf(spec.Path.Pos()), Msg: fmt.Sprintf("import of %s: only CUE's own packages can be imported", spec.Path.Value),
				Hint: Nearest("did you mean %q?", imported, builtins)})
		}
	}
	c.source.name, c.data = name, data
	return c, ps
}

func parse(name string, data []byte) (*ast.File, error) {
	return parser.ParseFile(name, data, parser.ParseComments, parser.AllErrors)
}

// clauseFor is a package name for the folder of that file.
func clauseFor(name string) string {
	base := path.Base(path.Dir(name))
	if base == "." {
		return "fleet"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, base)
}

// build compiles the directory in a context.
func (d *dir) build(ctx *cue.Context) (cue.Value, error) {
	inst := build.NewContext().NewInstance(d.path, nil)
	inst.PkgName = d.pkg
	for _, s := range d.files {
		f, err := parse(s.name, s.data)
		if err == nil {
			err = inst.AddSyntax(f)
		}
		if err != nil {
			return cue.Value{}, err
		}
	}
	v := ctx.BuildInstance(inst)
	return v, v.Err()
}

// schemaPrefix starts the file names of the published schema in positions.
const schemaPrefix = "bakehouse:schema/"

// schemaDir is the published schema, as another directory.
var schemaDir = func() *dir {
	d := &dir{path: schemaPrefix, pkg: "schema"}
	entries, _ := schema.CUE.ReadDir(".")
	for _, e := range entries {
		data, _ := schema.CUE.ReadFile(e.Name())
		d.files = append(d.files, source{name: schemaPrefix + e.Name(), data: data})
	}
	return d
}()

// evaluated is a directory as written, and unified with its definition of the schema. It belongs to one goroutine.
type evaluated struct {
	*dir
	ctx    *cue.Context
	raw    cue.Value
	value  cue.Value
	ps     Problems
	broken bool // what follows would only repeat ps
}

// evaluate unifies d with a definition of the schema in a fresh context. Values must be concrete unless loose.
func (d *dir) evaluate(definition string, loose bool) *evaluated {
	e := &evaluated{dir: d, ctx: cuecontext.New()}
	var err error
	if e.raw, err = d.build(e.ctx); err != nil {
		e.ps, e.broken = problemsOf(err, e.raw), true
		return e
	}
	published, err := schemaDir.build(e.ctx)
	if err != nil {
		panic(err) // our own, and tested
	}
	def := published.LookupPath(cue.ParsePath(definition))
	e.value = def.Unify(e.raw)
	err = e.value.Validate(cue.Concrete(!loose))
	if err == nil && !loose {
		return e
	}
	// CUE may hold back what it thinks of a field whose value is still open.
	unknown := unknownFields(e.raw, def, nil)
	for _, l := range append(unknown, locate(err, e.raw)...) {
		if !slices.ContainsFunc(unknown, func(u located) bool { return inside(l.path, u.path) && l.Msg != u.Msg }) {
			e.ps = append(e.ps, l.Problem)
		}
	}
	e.broken = len(e.ps) > 0
	return e
}

// inside reports whether path is at or below another.
func inside(path, above []string) bool {
	return len(path) >= len(above) && slices.Equal(path[:len(above)], above)
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes, at most %d are read", info.Size(), limit)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, plain(err)
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b.Bytes(), nil
}

// plain drops the path from err, which stands in the problem's position.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
