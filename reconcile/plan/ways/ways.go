// Package ways finds what changes in how hosts reach their server: the server itself, the proxy, and who vouches for
// it. Such a change is in the settings of the updater, which come with a package, or in the policy, which hosts read
// before that.
package ways

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Side is one of the two states that are compared.
type Side struct {
	Policy   schema.Policy
	Resolved *rules.Resolved // nil: not known
}

// way is how a host reaches its server. Equal texts are equal settings.
type way struct {
	server, proxy string   // the proxy with its password
	authorities   []string // sorted
	signed        bool     // the server is the site's, by policy, which reaches hosts before any package
}

// wayOf is the way of a host, by its package and the policy; ok is false for a host that does not update itself.
func wayOf(r *rules.Result, p *schema.Policy) (w way, ok bool) {
	for _, o := range r.Recipe.Outputs {
		for _, f := range o.Files {
			if !schema.IsConfigFile(f.Path) {
				continue
			}
			c, err := schema.DecodeAgentConfig(f.Content)
			if err != nil {
				return w, false
			}
			w = way{server: c.Server, proxy: c.Proxy.Mode}
			if c.Proxy.Mode == "explicit" {
				w.proxy = c.Proxy.URL
			}
			site, named := p.Sites[r.Site]
			if w.signed = named && !c.Fixed; w.signed {
				w.server = site.URL
			}
			baked := c.Certificates
			if named && r.Site != schema.CentralSite && site.URL == w.server {
				central := p.Sites[schema.CentralSite].Certificates
				baked = slices.DeleteFunc(slices.Clone(baked), func(pem string) bool { // as hosts do
					return strings.Contains(central, strings.TrimSpace(pem))
				})
			}
			w.authorities = authorities(append(slices.Clone(baked), site.Certificates)...)
			return w, true
		}
	}
	return w, false
}

// differences says of each setting how it differs; empty: it does not, or in a way that cuts nobody off.
func differences(was, is way) map[string]string {
	out := map[string]string{}
	if was.server != is.server {
		out[settings[0]] = was.server + " becomes " + is.server
	}
	if was.proxy != is.proxy {
		old, now := withoutPassword(was.proxy), withoutPassword(is.proxy)
		if old == now {
			now += " with another user or password"
		}
		out[settings[1]] = old + " becomes " + now
	}
	stays := func(a string) bool { return slices.Contains(is.authorities, a) }
	if len(slices.DeleteFunc(slices.Clone(was.authorities), stays)) > 0 {
		out[settings[2]] = strings.Join(was.authorities, ", ") + " becomes " + strings.Join(is.authorities, ", ")
	}
	return out
}

// settings are the settings of a way, by the names of the updater's parameters.
var settings = [3]string{"server", "proxy", "certificates"}

// withoutPassword is a proxy as everybody may read it.
func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}

// authorities names certificates, sorted; public authorities if there are none.
func authorities(pems ...string) (out []string) {
	for _, p := range pems {
		certs, _ := schema.ParseCertificates(p)
		for _, c := range certs {
			out = append(out, fmt.Sprintf("%q (%s)", c.Subject.CommonName, schema.DigestOf(c.Raw).Short()[:8]))
		}
	}
	if len(out) == 0 {
		return []string{"public authorities"}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const advice = "hosts that do not get through go back to the last way that worked; still, give it to the hosts of " +
	"one folder first (a rule with `when`), or to a ring before the others"

// Changed warns of each setting by which hosts reach their server that changes for all of them at once, so that a
// mistake shows nowhere first. An authority that is added beside others is no such change; one that goes is.
func Changed(before, after Side) (ps fleet.Problems) {
	if before.Resolved == nil || after.Resolved == nil || !after.Policy.Enabled {
		return nil
	}
	delays := map[string]schema.Duration{}
	for _, r := range after.Policy.Rings {
		delays[r.Name] = r.Delay
	}
	var known [2]cache
	type change struct {
		hosts, changed int
		texts          map[string]int
		delays         map[schema.Duration]bool
		first          string
	}
	var changes [len(settings)]change
	for _, host := range slices.Sorted(maps.Keys(after.Resolved.Hosts)) {
		r := after.Resolved.Hosts[host]
		was, there := known[0].of(before.Resolved.Hosts[host], &before.Policy)
		is, updates := known[1].of(r, &after.Policy)
		if !there || !updates {
			continue
		}
		texts := differences(was, is)
		delay, installs := delays[r.Ring]
		for i, setting := range settings {
			c, early := &changes[i], i == 0 && is.signed
			if !early && (!installs || !r.Selected) {
				continue // it gets no package
			}
			c.hosts++
			text := texts[setting]
			if text == "" {
				continue
			}
			if c.changed++; c.changed == 1 {
				c.first, c.texts, c.delays = host, map[string]int{}, map[schema.Duration]bool{}
			}
			c.texts[text]++
			c.delays[map[bool]schema.Duration{false: delay, true: 0}[early]] = true
		}
	}
	for i, c := range changes {
		if c.changed == 0 || c.changed < c.hosts || len(c.delays) > 1 {
			continue
		}
		texts := slices.Sorted(maps.Keys(c.texts))
		more := ""
		if len(texts) > 1 {
			more = ", and " + console.Count(len(texts)-1, "other change")
		}
		hint := advice
		if settings[i] == "certificates" {
			hint = "list the new authority beside the old one until every server shows a certificate of it; " + hint
		}
		ps = append(ps, fleet.Problem{Pos: place(after.Resolved.Hosts[c.first], settings[i]), Hint: hint,
			Msg: fmt.Sprintf("%s: the way to the server changes for all of %s at once: %s%s", settings[i],
				console.Count(c.hosts, "host"), texts[0], more)})
	}
	return ps
}

// place is the rule that sets the setting for a host, or the fleet's own.
func place(r *rules.Result, setting string) fleet.Pos {
	if s := r.Settings()[fleet.UpdaterPlugin].Params[setting]; s != nil {
		return s.Pos
	}
	return fleet.Pos{File: "fleet.cue"}
}

// cache computes the way of a recipe once for each site.
type cache map[key]*way

type key struct {
	recipe *rules.Recipe
	site   string
}

func (c *cache) of(r *rules.Result, p *schema.Policy) (way, bool) {
	if r == nil || r.Recipe == nil {
		return way{}, false
	}
	k := key{r.Recipe, r.Site}
	if w, known := (*c)[k]; known {
		if w == nil {
			return way{}, false
		}
		return *w, true
	}
	if *c == nil {
		*c = cache{}
	}
	w, ok := wayOf(r, p)
	if (*c)[k] = nil; ok {
		(*c)[k] = &w
	}
	return w, ok
}
