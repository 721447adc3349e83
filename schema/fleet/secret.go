package fleet

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// PartPath is the way from a parameter to a part of it, such as a secret: names of fields, each as it is written or as
// "~" and the regular expression that names meet, and "*" for any field or item.
type PartPath []string

// String is the path in words: fields with dots between them.
func (s PartPath) String() string { return strings.Join(s, ".") }

// AnyPart is the element of a PartPath that every field and item meets.
const AnyPart = "*"

// Hidden stands where a secret is not shown.
const Hidden = "(secret)"

// covers reports whether path, as far as both go, is the part's.
func (s PartPath) covers(path []string) bool {
	for i := range min(len(s), len(path)) {
		if s[i] == AnyPart || s[i] == path[i] {
			continue
		}
		re, ok := strings.CutPrefix(s[i], "~")
		if !ok {
			return false
		}
		if matched, err := regexp.MatchString(re, path[i]); err == nil && !matched {
			return false
		}
	}
	return true
}

// HasSecret reports whether the parameter is a secret or some part of it is.
func (p Param) HasSecret() bool { return p.Secret || len(p.Secrets) > 0 }

// Hides reports whether what is at path inside the parameter is not to be shown: a secret, a part of one, or what has
// one inside, which is not of the form of the plugin's when it is text.
func (p Param) Hides(path []string) bool {
	return p.Secret || slices.ContainsFunc(p.Secrets, func(s PartPath) bool { return s.covers(path) })
}

// within reports whether path is that of a secret or of a part of one.
func (p Param) within(path []string) bool {
	return p.Secret || slices.ContainsFunc(p.Secrets, func(s PartPath) bool {
		return len(path) >= len(s) && s.covers(path)
	})
}

// Shown is a value of the parameter as it can be shown: secrets are replaced.
func (p Param) Shown(value json.RawMessage) json.RawMessage {
	if !p.HasSecret() {
		return value
	}
	out := value
	p.eachSecret(value, func(shown any) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(shown) == nil {
			out = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
		}
	}, func(string) {})
	return out
}

// SecretsOf are the texts in a value of the parameter that are not to be shown.
func (p Param) SecretsOf(value json.RawMessage) (texts []string) {
	if p.HasSecret() {
		p.eachSecret(value, func(any) {}, func(s string) { texts = append(texts, s) })
	}
	return texts
}

// eachSecret yields the scalars of a value that are hidden, and then the value with Hidden in their places.
func (p Param) eachSecret(value json.RawMessage, shown func(any), secret func(string)) {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return
	}
	var walk func(v any, path []string) any
	walk = func(v any, path []string) any {
		at := func(name string) []string { return append(path[:len(path):len(path)], name) }
		switch part := v.(type) {
		case map[string]any:
			for name, field := range part {
				part[name] = walk(field, at(name))
			}
		case []any:
			for i, item := range part {
				part[i] = walk(item, at(strconv.Itoa(i)))
			}
		case string:
			if p.Hides(path) {
				secret(part)
				return Hidden
			}
		case json.Number:
			if p.Hides(path) {
				secret(part.String())
				return Hidden
			}
		}
		return v
	}
	v = walk(v, nil)
	if p.within(nil) {
		v = Hidden
	}
	shown(v)
}

// Param is the parameter of that name.
func (p *Plugin) Param(name string) (Param, bool) {
	i := slices.IndexFunc(p.Params, func(param Param) bool { return param.Name == name })
	if i < 0 {
		return Param{}, false
	}
	return p.Params[i], true
}

// SecretsOf are the texts in values of parameters that are not to be shown.
func (p *Plugin) SecretsOf(params map[string]Value) (texts []string) {
	for name, v := range params {
		if param, ok := p.Param(name); ok {
			texts = append(texts, param.SecretsOf(v.JSON)...)
		}
	}
	return texts
}

// literal is text, bytes or a number as CUE writes values, and text that was cut off.
var literal = regexp.MustCompile(`#*"""[\s\S]*?"""#*|#*'''[\s\S]*?'''#*|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\\n])*'|` +
	`\b[0-9][0-9A-Za-z_.]*\b`)

// token is what a parser has words for, such as 'EOF', ':' and 'STRING'.
var token = regexp.MustCompile(`^'(?:IDENT|STRING|INTERPOLATION|INT|FLOAT|EOF|[a-z]{2,3}|[^A-Za-z0-9]{1,3})'$`)

// WithoutValues is a message without the values that it quotes as CUE writes them.
func WithoutValues(msg string) string {
	return literal.ReplaceAllStringFunc(msg, func(s string) string {
		if token.MatchString(s) {
			return s
		}
		return Hidden
	})
}

// Secrets are the texts that rules and hosts give to secret parameters, whichever host they are for: what is printed of
// one host may well hold what only another one is given.
func (f *Fleet) Secrets() []string {
	all := map[string]bool{}
	add := func(plugin string, r *Rule) {
		if p := f.Plugins[plugin]; p != nil {
			for _, text := range p.SecretsOf(r.Value) {
				all[text] = true
			}
		}
	}
	for _, folder := range f.Folders {
		for plugin, rules := range folder.Rules {
			for _, r := range rules {
				add(plugin, r)
			}
		}
	}
	for _, h := range f.Hosts {
		for plugin, r := range h.Set {
			add(plugin, r)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Mask puts Hidden in place of secrets, as they are and as they are quoted or escaped. The zero Mask knows none.
type Mask struct{ out *strings.Replacer }

// MaskOf is a mask for these texts. What is shorter than four bytes is left: it is in too many words.
func MaskOf(secrets []string) Mask { return maskOf(secrets, 4) }

func maskOf(secrets []string, shortest int) Mask {
	// The longest first: one may be inside another.
	secrets = slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range secrets {
		for _, form := range spellings(s) {
			if len(form) >= shortest {
				pairs = append(pairs, form, Hidden)
			}
		}
	}
	return Mask{strings.NewReplacer(pairs...)}
}

// spellings are the ways in which a text is written: plain and trimmed, in JSON, CUE and Go, in the parts of a URL, in
// hexadecimal digits, and in base64, also amid other text as in "user:SECRET".
func spellings(s string) (all []string) {
	inHTML, _ := json.Marshal(s)
	inside := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	digits := hex.EncodeToString([]byte(s))
	forms := []string{s, strings.TrimSpace(s), inside(string(Quote(s))), inside(string(inHTML)),
		inside(strconv.Quote(s)), url.QueryEscape(s), url.PathEscape(s), url.User(s).String(), digits,
		strings.ToUpper(digits)}
	for _, form := range append(forms, inBase64(s)...) {
		if !slices.Contains(all, form) {
			all = append(all, form)
		}
	}
	return all
}

// inBase64 is what stands for s in base64, in both alphabets, wherever s begins in a group of three bytes: the
// characters that no neighbour decides. What is left of a text of six bytes is at least six characters.
func inBase64(s string) (all []string) {
	if len(s) < 6 {
		return nil
	}
	for before := range 3 {
		b := append(make([]byte, before), s...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			// A character is of s alone if its six bits are.
			first, last := (8*before+5)/6, 8*len(b)/6
			all = append(all, alphabet.EncodeToString(b)[first:last])
		}
	}
	return all
}

// Text is a text without secrets.
func (m Mask) Text(s string) string {
	if m.out == nil {
		return s
	}
	return m.out.Replace(s)
}

// JSON is a value without secrets in its texts and in the names of its fields.
func (m Mask) JSON(value json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	var v any
	if m.out == nil || dec.Decode(&v) != nil {
		return value
	}
	changed := false
	text := func(s string) string {
		masked := m.Text(s)
		changed = changed || masked != s
		return masked
	}
	var walk func(any) any
	walk = func(v any) any {
		switch part := v.(type) {
		case string:
			return text(part)
		case []any:
			for i := range part {
				part[i] = walk(part[i])
			}
		case map[string]any:
			masked := make(map[string]any, len(part))
			for name, field := range part {
				masked[text(name)] = walk(field)
			}
			return masked
		}
		return v
	}
	v = walk(v)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if !changed || enc.Encode(v) != nil {
		return value
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// WithoutTexts is ps without texts that are secrets, and without users and passwords of URLs.
func (ps Problems) WithoutTexts(secrets []string) Problems {
	mask := maskOf(secrets, 3)
	for i := range ps {
		for _, text := range []*string{&ps[i].Msg, &ps[i].Hint} {
			*text = userInText.ReplaceAllString(mask.Text(*text), "://hidden@")
		}
	}
	return ps
}

// userInText is what may hold a password in a URL that somebody mistyped, too.
var userInText = regexp.MustCompile(`://[^\s"'…]*@`)
