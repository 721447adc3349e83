package output

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/keeps"
)

// health reads the check of health; nil: it has none.
func (d *decoder) health(n *result.Node) *schema.HealthCheck {
	command := n.Get("command")
	if command == nil {
		for _, field := range []string{"within", "user"} {
			if f := n.Get(field); f != nil {
				d.refuse(f, "health: %s is of a command, and there is none", field)
			}
		}
		return nil
	}
	h := &schema.HealthCheck{Plugin: d.p.Name, Command: command.Strs(), Within: schema.Duration(30 * time.Second),
		User: d.runner(n.Get("user"), "health")}
	if !d.duration(n.Get("within"), "health: within", &h.Within) {
		return h
	}
	err := h.Check()
	if err == nil && time.Duration(h.Within) < time.Second {
		err = fmt.Errorf("within: %s is out of range: want 1s to 1h", h.Within)
	}
	if err != nil {
		d.refuse(n, "health: %v", err)
	}
	d.command(command, "health check", h.User)
	return h
}

// keeps reads what the monitoring must keep on printing; nil: nothing is said of it.
func (d *decoder) keeps(n *result.Node) *keeps.Keeps {
	in, dropped := n.Get("keeps"), n.Get("dropped")
	if in == nil {
		if dropped != nil && len(dropped.Parts) > 0 {
			d.refuse(dropped, "health: dropped is of keeps, and there is none")
		}
		return nil
	}
	k := keeps.Default(d.p.Name)
	k.Command, k.URL, k.Names = in.Get("command").Strs(), in.Get("url").Str(), in.Get("names").Str()
	k.User, k.Dropped = d.runner(in.Get("user"), "health: keeps"), dropped.Strs()
	if r := in.Get("retries"); r != nil {
		k.Retries, _ = strconv.Atoi(r.Text) // a number, by the schema
	}
	for field, to := range map[string]*schema.Duration{"settle": &k.Settle, "within": &k.Within} {
		if !d.duration(in.Get(field), "health: keeps: "+field, to) {
			return &k
		}
	}
	var bad *keeps.FieldError
	if err := k.Check(); errors.As(err, &bad) {
		at := in.Get(bad.Field)
		if bad.Field == "dropped" {
			at = dropped
		}
		if at == nil {
			at = in
		}
		d.refuse(at, "health: keeps: %v", err)
	}
	if command := in.Get("command"); command != nil {
		d.command(command, "health: keeps", k.User)
	}
	return &k
}

// runner is who runs a command, empty for root.
func (d *decoder) runner(n *result.Node, what string) string {
	if name := d.account(n, what); name != "root" {
		return name
	}
	return ""
}

// duration reads a duration, if there is one.
func (d *decoder) duration(n *result.Node, what string, to *schema.Duration) bool {
	if n == nil {
		return true
	}
	got, err := schema.ParseDuration(n.Text)
	if err != nil {
		d.refuse(n, "%s: %v", what, err)
		return false
	}
	*to = got
	return true
}

// command is that a user, root if empty, runs the words of n.
func (d *decoder) command(n *result.Node, what, user string) {
	words := n.Strs()
	if slices.ContainsFunc(words, control) {
		d.refuse(n, "%s: command holds control characters", what)
	}
	if len(words) > 0 {
		d.runs = append(d.runs, runs{what, words[0], user, n})
	}
}
