package state

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

// setting is one row of the table: what each source says, and which counts: the strongest that says anything, in the
// order of the fields. A nil source never says anything.
type setting[T any] struct {
	name                    string
	signed, baked, recorded func(*Host) (T, bool)
	standard                func() T          // if no source says anything; nil: there is none
	several                 func(said ...T) T // what sources say, the strongest first; nil: they do not add up
	fixed                   func(*Host) bool  // whether the baked one counts alone; nil: it does not
	show                    func(T) string    // nil: as fmt.Sprint
}

// of is the value that counts, and where it comes from.
func (s setting[T]) of(h *Host) (T, string) {
	var said []T
	var from []string
	for _, source := range []struct {
		name string
		ask  func(*Host) (T, bool)
	}{{FromPolicy, s.signed}, {FromConfig, s.baked}, {FromState, s.recorded}} {
		if v, ok := ask(source.ask, h); ok {
			said, from = append(said, v), append(from, source.name)
		}
	}
	switch b, baked := ask(s.baked, h); {
	case baked && s.fixed != nil && s.fixed(h):
		return b, FromConfig
	case len(said) > 0 && s.several != nil:
		return s.several(said...), strings.Join(from, ", ")
	case len(said) > 0:
		return said[0], from[0]
	case s.standard != nil:
		return s.standard(), FromDefault
	}
	var none T
	return none, FromNone
}

// value is what counts, for whom it does not matter where it comes from.
func (s setting[T]) value(h *Host) T {
	v, _ := s.of(h)
	return v
}

func (s setting[T]) row(h *Host) Setting {
	show := s.show
	if show == nil {
		show = func(v T) string { return fmt.Sprint(v) }
	}
	out := Setting{Name: s.name, Value: "-"}
	if v, ok := ask(s.signed, h); ok {
		out.Policy = show(v)
	}
	if v, ok := ask(s.baked, h); ok {
		out.Config = show(v)
	}
	if v, ok := ask(s.recorded, h); ok {
		out.State = show(v)
	}
	v, from := s.of(h)
	if out.From = from; from != FromNone {
		out.Value = show(v)
	}
	return out
}

func ask[T any](source func(*Host) (T, bool), h *Host) (T, bool) {
	if source == nil {
		var none T
		return none, false
	}
	return source(h)
}

// policy is a setting that signed policy has for the host's site.
func policy[T any](get func(*Site) T) func(*Host) (T, bool) {
	return from(func(h *Host) *Site { return h.Site }, get)
}

// config is a setting of the baked config.
func config[T any](get func(*schema.AgentConfig) T) func(*Host) (T, bool) {
	return from(func(h *Host) *schema.AgentConfig { return h.Config }, get)
}

// registration is a setting that registration agreed.
func registration[T any](get func(*Registration) T) func(*Host) (T, bool) {
	return from(func(h *Host) *Registration { return h.Registration }, get)
}

// bootstrap is a setting for the first package.
func bootstrap[T any](get func(*Bootstrap) T) func(*Host) (T, bool) {
	return from(func(h *Host) *Bootstrap { return h.Bootstrap }, get)
}

func from[S, T any](source func(*Host) *S, get func(*S) T) func(*Host) (T, bool) {
	return func(h *Host) (v T, ok bool) {
		if s := source(h); s != nil {
			v = get(s)
			ok = says(v)
		}
		return v, ok
	}
}

// says reports whether a value says anything: empty texts, lists and times do not.
func says(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case []string:
		return len(v) > 0
	case []byte:
		return len(v) > 0
	case []schema.AcceptedKey:
		return len(v) > 0
	case time.Time:
		return !v.IsZero()
	}
	return true
}

// given is a list of what is given.
func given(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// union has each text once, those of the first list first.
func union(lists ...[]string) (out []string) {
	for _, l := range lists {
		for _, s := range l {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}
