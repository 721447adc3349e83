package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"bakehouse/schema/cli"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

const (
	defaultFile = "bakehouse.yaml"
	commandsKey = "commands"
	maxSize     = 64 << 10 // bytes; all settings there are fill a fraction of it
)

// fileOf is the settings file that applies to cmd, empty if there is none. One that was asked for must exist.
func fileOf(cmd *cobra.Command, environ []string) (string, error) {
	file := ""
	if f := cmd.Flag("config"); f != nil {
		file = f.Value.String()
	}
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, configVariable+"="); ok && file == "" {
			file = value
		}
	}
	if file != "" {
		return file, nil
	}
	if _, err := os.Lstat(defaultFile); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("settings: %w", err)
	}
	return defaultFile, nil
}

// read reads the settings file at path.
func (t *tree) read(path string) (entries, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("settings: %w", err), "set another file with --config FILE")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("settings: %w", err), "set another file with --config FILE")
	}
	return t.parse(path, data)
}

// parse returns the settings in data in their order, or the first mistake with its place as "file:line:column".
func (t *tree) parse(file string, data []byte) (entries, error) {
	p := parser{tree: t, file: file}
	if len(data) > maxSize {
		return nil, fault.Hint(fmt.Errorf("%s is larger than %d KiB", file, maxSize>>10), "is it a settings file?")
	}
	if err := p.text(data); err != nil {
		return nil, err
	}
	var doc, next yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, p.syntax(data, err)
	}
	switch err := d.Decode(&next); {
	case err == nil:
		return nil, p.fail(&next, "put all settings in one document", "a second document")
	case !errors.Is(err, io.EOF):
		return nil, p.syntax(data, err)
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" && top.Value == "" {
		return nil, nil // comments only
	}
	err := p.members(top, "settings", func(key, value *yaml.Node) error {
		if key.Value == commandsKey {
			return p.members(value, commandsKey, p.command)
		}
		return p.shared(key, value)
	})
	return p.list, err
}

type parser struct {
	*tree
	file string
	list entries
}

// text refuses bytes that are no text, where YAML's own errors have no place.
func (p *parser) text(data []byte) error {
	for i, line := 0, 1; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		control := unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' && r != 0x85 ||
			r == 0xfffe || r == 0xffff
		if r == utf8.RuneError && size == 1 || control {
			column := i - bytes.LastIndexByte(data[:i], '\n')
			return fault.Hint(fmt.Errorf("%s:%d:%d: the byte 0x%02x is no text", p.file, line, column, data[i]),
				"settings are a YAML file in UTF-8")
		}
		if r == '\n' {
			line++
		}
		i += size
	}
	return nil
}

var (
	yamlError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	parserError = regexp.MustCompile(`^did not find expected (?:<|node|key|')`) // these count lines from 0
)

// syntax gives an error of the YAML package, which knows no columns, the line where the part that is broken begins.
func (p *parser) syntax(data []byte, err error) error {
	line, what := 1, err.Error()
	if m := yamlError.FindStringSubmatch(what); m != nil {
		what = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
			if parserError.MatchString(what) {
				line++
			}
		}
	}
	line = min(line, 1+bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n")))
	return fault.Hint(fmt.Errorf("%s:%d: %s", p.file, line, what),
		"correct the YAML from there on: indentation, quotes, brackets")
}

func (p *parser) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", p.file, n.Line, n.Column) }

func (p *parser) fail(n *yaml.Node, hint, format string, args ...any) error {
	return fault.Hint(fmt.Errorf("%s: %s", p.at(n), fmt.Sprintf(format, args...)), "%s", hint)
}

// members calls do for each pair of a mapping, what says whose it is.
func (p *parser) members(m *yaml.Node, what string, do func(key, value *yaml.Node) error) error {
	if err := p.plain(m); err != nil {
		return err
	}
	if m.Kind != yaml.MappingNode {
		return p.fail(m, "write NAME: VALUE pairs, such as store: /srv/bakehouse",
			"%.80s: want a mapping, not %s", what, kindOf(m))
	}
	first := map[string]*yaml.Node{}
	for i := 0; i < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if err := p.plain(key); err != nil {
			return err
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null" || key.ShortTag() == "!!merge" {
			return p.fail(key, "a key is the name of a flag or command", "%.80s: %s is not a name", what, kindOf(key))
		}
		if before := first[key.Value]; before != nil {
			return p.fail(key, "leave one of them out",
				"%.80s: %.80q is set again, after line %d", what, key.Value, before.Line)
		}
		first[key.Value] = key
		if err := do(key, value); err != nil {
			return err
		}
	}
	return nil
}

// plain refuses what makes a value depend on another place in the file, or its reading on a type.
func (p *parser) plain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return p.fail(n, "write the value itself in each place", "anchors and aliases are not supported")
	case n.Style&yaml.TaggedStyle != 0:
		return p.fail(n, "leave the tag out", "the tag %.80q is not supported", n.Tag)
	}
	return nil
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.ShortTag() == "!!null":
		return "null"
	}
	return fmt.Sprintf("%.80q", n.Value)
}

// shared reads a key at the top. A mapping there is what used to be a command's section.
func (p *parser) shared(key, value *yaml.Node) error {
	_, known := p.tree.shared[key.Value]
	if value.Kind == yaml.MappingNode {
		if now := p.respell(key.Value, value); now != "" {
			return p.fail(key, "write "+now, "%s: settings of a command belong under %q", key.Value, commandsKey)
		}
	}
	if !known {
		return p.fail(key, p.suggest("", key.Value), "unknown setting %.80q", key.Value)
	}
	return p.value(name{"", key.Value}, key, value)
}

// command reads the settings of one command.
func (p *parser) command(key, value *yaml.Node) error {
	flags, ok := p.commands[key.Value]
	if !ok {
		return p.fail(key, p.suggestCommand(key.Value), "unknown command %.80q", key.Value)
	}
	return p.members(value, key.Value, func(flag, value *yaml.Node) error {
		if _, ok := flags[flag.Value]; !ok {
			return p.fail(flag, p.suggest(key.Value, flag.Value), "%s has no setting %.80q", key.Value, flag.Value)
		}
		return p.value(name{key.Value, flag.Value}, flag, value)
	})
}

// value reads what n is set to.
func (p *parser) value(n name, key, value *yaml.Node) error {
	if p.class(n) == Once {
		hint, what := p.onceOnly(n)
		return p.fail(key, hint, "%v", what)
	}
	e := entry{name: n, at: p.at(value)}
	if err := p.plain(value); err != nil {
		return err
	}
	items := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		e.list, items = true, value.Content
	}
	for _, item := range items {
		if err := p.plain(item); err != nil {
			return err
		}
		if item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" {
			hint := `give it a value ("" for an empty one), or delete the line`
			if item.Kind != yaml.ScalarNode {
				hint = "see `bakehouse COMMAND --help` for what it takes"
			}
			return p.fail(item, hint, "%s: want a value, not %s", n, kindOf(item))
		}
		e.values = append(e.values, item.Value)
	}
	p.list = append(p.list, e)
	return nil
}

// respell writes what a section of the old form says in today's, empty if word begins no command.
func (p *parser) respell(word string, section *yaml.Node) string {
	if !p.begins(word) {
		return ""
	}
	now := &yaml.Node{Kind: yaml.MappingNode}
	var walk func(path string, section *yaml.Node)
	walk = func(path string, section *yaml.Node) {
		flags := &yaml.Node{Kind: yaml.MappingNode}
		for i := 0; i < len(section.Content); i += 2 {
			key, value := section.Content[i], section.Content[i+1]
			if value.Kind == yaml.MappingNode && p.begins(path+" "+key.Value) {
				walk(path+" "+key.Value, value)
				continue
			}
			shown := &yaml.Node{Kind: yaml.ScalarNode, Value: "…"}
			if value.Kind == yaml.ScalarNode && p.plain(value) == nil {
				shown.Value, shown.Style = value.Value, value.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle)
			}
			flags.Content = append(flags.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key.Value}, shown)
		}
		if len(flags.Content) > 0 {
			now.Content = append(now.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path}, flags)
		}
	}
	walk(word, section)
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle,
		Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: commandsKey}, now}})
	if err != nil || len(out) > 500 {
		return commandsKey + ": {" + word + ": {…}}"
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(out)), "{"), "}")
}

// begins reports whether path is a command, or holds some.
func (p *parser) begins(path string) bool {
	for command := range p.commands {
		if command == path || strings.HasPrefix(command, path+" ") {
			return true
		}
	}
	return false
}

// suggest is the hint on a flag that does not exist, of one command or of all.
func (p *parser) suggest(command, flag string) string {
	var candidates []string
	flags := p.tree.shared
	if command != "" {
		flags = p.commands[command]
	}
	for f, class := range flags {
		if class != Once {
			candidates = append(candidates, f)
		}
	}
	if command == "" {
		candidates = append(candidates, commandsKey)
	}
	slices.Sort(candidates)
	if near := cli.Nearest(flag, candidates); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if others := p.having[flag]; len(others) > 0 {
		return fmt.Sprintf("it belongs to: %s", strings.Join(others, ", "))
	}
	if p.begins(flag) {
		return fmt.Sprintf("%s is a command: list its settings under %q", flag, commandsKey)
	}
	return "settings are the flags of the commands: see `bakehouse COMMAND --help`"
}

// suggestCommand is the hint on a command that does not exist.
func (p *parser) suggestCommand(word string) string {
	candidates := slices.Sorted(maps.Keys(p.commands))
	if p.begins(word) {
		candidates = slices.DeleteFunc(candidates, func(c string) bool { return !strings.HasPrefix(c, word+" ") })
		return "it has no settings, these below it do: " + strings.Join(candidates, ", ")
	}
	if near := cli.Nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "a command is written as on the command line: store gc"
}
