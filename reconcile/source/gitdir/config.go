package gitdir

import (
	"fmt"
	"strings"
)

// Config is what git configuration files say, in the order in which git reads them.
type Config struct{ entries []setting }

// setting is one line. section and key are in lower case.
type setting struct {
	section, sub, key, value string
	bare                     bool // without "=", which means true
}

// Get returns the last value of a setting; sub is empty for a section without a subsection.
func (c Config) Get(section, sub, key string) (value string, ok bool) {
	for _, s := range c.entries {
		if s.section == section && s.sub == sub && s.key == key {
			value, ok = s.value, true
			if s.bare {
				value = "true"
			}
		}
	}
	return value, ok
}

// Bool is a setting as git reads a boolean, or otherwise if it is not set or neither true nor false.
func (c Config) Bool(section, key string, otherwise bool) bool {
	v, ok := c.Get(section, "", key)
	if !ok {
		return otherwise
	}
	switch strings.ToLower(v) {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0", "":
		return false
	}
	return otherwise
}

// keys are those of a section without a subsection, each once.
func (c Config) keys(section string) (keys []string) {
	seen := map[string]bool{}
	for _, s := range c.entries {
		if s.section == section && s.sub == "" && !seen[s.key] {
			seen[s.key] = true
			keys = append(keys, s.key)
		}
	}
	return keys
}

// parseConfig parses a configuration file as git does; the error begins with its line.
func parseConfig(data []byte) (Config, error) {
	p := &configParser{rest: strings.TrimPrefix(string(data), "\ufeff"), line: 1}
	for {
		done, err := p.next()
		if err != nil {
			return p.Config, fmt.Errorf("%d: %w", p.line, err)
		}
		if done {
			return p.Config, nil
		}
	}
}

type configParser struct {
	Config
	rest         string
	line         int
	section, sub string
}

// read takes the next byte, a line end of two bytes as one; 0 is the end.
func (p *configParser) read() byte {
	if p.rest == "" {
		return 0
	}
	if strings.HasPrefix(p.rest, "\r\n") {
		p.rest = p.rest[1:]
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	if c == '\n' {
		p.line++
	}
	return c
}

func (p *configParser) skipLine() {
	for c := p.read(); c != '\n' && c != 0; c = p.read() {
	}
}

// next reads a comment, a section's head or a setting.
func (p *configParser) next() (done bool, err error) {
	p.rest = strings.TrimLeft(p.rest, " \t\r")
	switch c := p.read(); {
	case c == 0:
		return true, nil
	case c == '\n':
	case c == '#', c == ';':
		p.skipLine()
	case c == '[':
		return false, p.head()
	case isAlpha(c):
		return false, p.setting(c)
	default:
		return false, fmt.Errorf("neither a section nor a setting begins with %q", c)
	}
	return false, nil
}

// head reads what follows "[": NAME], NAME.SUB] or NAME "SUB"].
func (p *configParser) head() error {
	end := strings.IndexAny(p.rest, "]\" \t\n")
	if end < 0 || p.rest[end] == '\n' {
		return fmt.Errorf("the name of a section does not end")
	}
	name := strings.ToLower(p.rest[:end])
	p.rest = p.rest[end:]
	if p.rest[0] == ']' {
		p.rest = p.rest[1:]
		p.section, p.sub, _ = strings.Cut(name, ".")
		return nil
	}
	p.rest = strings.TrimLeft(p.rest, " \t")
	var sub strings.Builder
	if p.read() != '"' {
		return fmt.Errorf("section %.40q: its second name is not in quotes", name)
	}
	for {
		c := p.read()
		if c == '"' {
			break
		}
		if c == '\\' {
			c = p.read()
		}
		if c == 0 || c == '\n' {
			return fmt.Errorf("section %.40q: its second name does not end", name)
		}
		sub.WriteByte(c)
	}
	if p.read() != ']' {
		return fmt.Errorf("section %.40q does not end in ]", name)
	}
	p.section, p.sub = name, sub.String()
	return nil
}

// setting reads a line that begins with first.
func (p *configParser) setting(first byte) error {
	name := []byte{first}
	for p.rest != "" && (isAlpha(p.rest[0]) || p.rest[0] == '-' || p.rest[0] >= '0' && p.rest[0] <= '9') {
		name = append(name, p.read())
	}
	s := setting{section: p.section, sub: p.sub, key: strings.ToLower(string(name))}
	p.rest = strings.TrimLeft(p.rest, " \t")
	switch c := p.read(); c {
	case 0, '\n':
		s.bare = true
	case '#', ';':
		p.skipLine()
		s.bare = true
	case '=':
		var err error
		if s.value, err = p.value(); err != nil {
			return fmt.Errorf("%s.%s: %w", s.section, s.key, err)
		}
	default:
		return fmt.Errorf("%s.%s is not followed by =", s.section, s.key)
	}
	p.entries = append(p.entries, s)
	return nil
}

// value reads to the end of the line.
func (p *configParser) value() (string, error) {
	p.rest = strings.TrimLeft(p.rest, " \t")
	var b strings.Builder
	kept, quoted := 0, false // kept: without the blanks at its end
	for {
		c := p.read()
		switch {
		case c == 0 || c == '\n':
			if quoted {
				if c == '\n' {
					p.line--
				}
				return "", fmt.Errorf("a quote does not end")
			}
			return b.String()[:kept], nil
		case !quoted && (c == '#' || c == ';'):
			p.skipLine()
			return b.String()[:kept], nil
		case c == '"':
			quoted = !quoted
			kept = b.Len()
			continue
		case c == '\\':
			switch c = p.read(); c {
			case '\n':
				continue
			case 'n':
				c = '\n'
			case 't':
				c = '\t'
			case 'b':
				c = '\b'
			case '\\', '"':
			default:
				return "", fmt.Errorf("unknown escape \\%c", c)
			}
			b.WriteByte(c)
			kept = b.Len()
			continue
		}
		b.WriteByte(c)
		if quoted || c != ' ' && c != '\t' {
			kept = b.Len()
		}
	}
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
