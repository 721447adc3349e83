package state

import (
	"fmt"
	"time"

	"bakehouse/schema"
)

// setting is one row of the table: what each source says, and which counts.
type setting[T any] struct {
	name            string
	baked, recorded func(*Host) (T, bool) // nil: this source never says anything
	standard        func() T              // if no source says anything; nil: there is none
	// both is the value and where it comes from if both sources say something; nil: the baked one counts.
	both func(h *Host, baked, recorded T) (T, string)
	show func(T) string // nil: as fmt.Sprint
}

// of is the value that counts, and where it comes from.
func (s setting[T]) of(h *Host) (T, string) {
	b, isBaked := ask(s.baked, h)
	r, isRecorded := ask(s.recorded, h)
	switch {
	case isBaked && isRecorded && s.both != nil:
		return s.both(h, b, r)
	case isBaked:
		return b, FromConfig
	case isRecorded:
		return r, FromState
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
