package build

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// number is n with a comma between thousands.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is "1 host VERB" or "12 hosts VERB".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 host " + one
	}
	return number(n) + " hosts " + many
}

// verdict is the first that fits.
func verdict(o *view.Overview, c hosts.Counts) view.Verdict {
	of := func(states ...hosts.State) (n int) {
		for _, s := range states {
			n += c.State[s]
		}
		return n
	}
	retired := c.State[hosts.Unregistered]
	turns := 0
	for _, g := range c.Groups {
		switch {
		case g.State == hosts.Unregistered:
			retired -= g.Hosts
		case g.State == hosts.Waiting && (g.Code == schema.CodeWaiting || g.Code == hosts.CodeGate):
			turns += g.Hosts
		}
	}
	v := view.Verdict{Facts: number(c.State[hosts.UpToDate]) + " of " + number(c.Total) + " hosts are up to date",
		Look: of(hosts.Rejected, hosts.Failed, hosts.Overdue, hosts.Blocked, hosts.Withheld,
			hosts.Unregistered) - retired}
	if c.Total == 1 {
		v.Facts = number(c.State[hosts.UpToDate]) + " of 1 host is up to date"
	}
	var more []string
	for _, s := range []struct {
		n         int
		one, many string
	}{
		{c.State[hosts.Updating], "is on its way", "are on their way"},
		{c.State[hosts.Waiting], "waits as signed policy or its administrator says",
			"wait as signed policy or their administrators say"},
		{c.State[hosts.NotKnown], "is not known: its site is silent", "are not known: their sites are silent"},
		{v.Look, "needs a look", "need a look"},
	} {
		if s.n > 0 {
			more = append(more, plural(s.n, s.one, s.many))
		}
	}
	if len(more) > 0 {
		v.Detail = strings.Join(more, "; ") + "."
	}
	gated := false
	for _, r := range o.Rings {
		if gated = gated || r.Gate != nil; r.State == view.RingHalted {
			v.Ring = r.Name
		}
	}
	rolling := c.State[hosts.Updating]+turns > 0
	need := plural(v.Look, "needs a look", "need a look")
	switch {
	case o.Off:
		v.Code, v.Title = view.VerdictOff, "Updates are off"
	case v.Ring != "":
		v.Code, v.Title = view.VerdictHalted, "Halted at "+v.Ring
	case o.Trouble != "":
		v.Code, v.Title = view.VerdictTrouble, "Cannot verify the store"
	case rolling && v.Look > 0 && (!gated || v.Look > of(hosts.Failed, hosts.Rejected)) && of(hosts.Failed,
		hosts.Rejected) > 0,
		rolling && v.Look > 0 && !gated:
		v.Code, v.Title = view.VerdictAttention, "Rolling out, "+need
	case rolling:
		v.Code, v.Title = view.VerdictOnTrack, "Rolling out, on track"
	case v.Look > 0:
		v.Code, v.Title = view.VerdictNotInStep, upper(need)
	default:
		v.Code, v.Title = view.VerdictInStep, "In step"
	}
	return v
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// maxAttention is how many sentences there are at most.
const maxAttention = 9

// kind is the hosts that are in one state by one code.
type kind struct {
	state  hosts.State
	code   string
	hosts  int
	causes []hosts.Group // the most frequent first
}

// attention groups what needs a person; more is how many sentences are left out.
func attention(c hosts.Counts, o *view.Overview, newest int64) (list []view.Sentence, more int) {
	var kinds []kind
	for _, g := range c.Groups {
		if g.State == hosts.Waiting && g.Code != schema.CodeNoRing || g.State == hosts.NotKnown {
			continue // of what is not known, its site has a sentence
		}
		if n := len(kinds); n == 0 || kinds[n-1].state != g.State || kinds[n-1].code != g.Code {
			kinds = append(kinds, kind{state: g.State, code: g.Code})
		}
		k := &kinds[len(kinds)-1]
		k.hosts += g.Hosts
		k.causes = append(k.causes, g)
	}
	for _, k := range kinds {
		list = append(list, k.sentence(newest))
	}
	list = append(list, siteSentences(o.Sites)...)
	if n := o.NotInGit; n > 0 {
		fact := plural(n, "is registered, and git does not have it", "are registered, and git does not have them")
		list = append(list, view.Sentence{Code: hosts.CodeNotInGit, Level: hosts.NotInGit, Hosts: n, Fact: fact,
			Cause: "If one has another name in git now, say so there with was; else forget it.",
			Steps: []view.Step{see(n, hosts.NotInGit, ""), {Text: "Forget one",
				Command: "bakehouse host forget NAME"}}})
	}
	for _, f := range o.Prerequisites {
		if f.Level == schema.LevelHolds || f.Code == "registered" || f.Code == "switch" ||
			f.Code == "sites" {
			continue // hosts that are not registered and sites have sentences, and the switch its banner
		}
		s := view.Sentence{Code: f.Code, Level: hosts.Withheld, Fact: strings.TrimSuffix(f.Detail, "."), Cause: f.Fix}
		if f.Command != "" || f.Link != "" {
			s.Steps = append(s.Steps, view.Step{Text: cmp.Or(f.Fix, "To do"), Command: f.Command, OnHost: f.OnHost,
				Link: f.Link})
			s.Cause = ""
		}
		list = append(list, s)
	}
	if list = slices.Clip(list); len(list) > maxAttention {
		list, more = list[:maxAttention], len(list)-maxAttention
	}
	if list == nil {
		list = []view.Sentence{}
	}
	return list, more
}

// see is the step that leads to hosts.
func see(n int, state hosts.State, code string) view.Step {
	link := "/hosts?state=" + string(state)
	if code != "" {
		link += "&code=" + url.QueryEscape(code)
	}
	text := "See the " + number(n) + " hosts"
	if n == 1 {
		text = "See the host"
	}
	return view.Step{Text: text, Link: link}
}

func (k *kind) sentence(newest int64) view.Sentence {
	s := view.Sentence{Code: k.code, Level: k.state, Hosts: k.hosts, Steps: []view.Step{see(k.hosts, k.state, k.code)}}
	release := "what they are given"
	if newest > 0 {
		release = fmt.Sprintf("release %d", newest)
	}
	switch k.state {
	case hosts.Rejected:
		s.Fact = plural(k.hosts, "rejects what it is given", "reject what they are given")
		s.Cause = k.errors()
	case hosts.Failed:
		s.Fact = plural(k.hosts, "failed to update", "failed to update")
		s.Cause = k.errors() + " What ran before goes on."
	case hosts.Withheld:
		s.Fact = plural(k.hosts, "is kept from its updates ("+k.code+")", "are kept from their updates ("+k.code+")")
		s.Cause = k.errors()
	case hosts.Blocked:
		s.Fact = plural(k.hosts, "cannot install "+release+" yet", "cannot install "+release+" yet")
		s.Cause = k.errors() + " It is tried again by itself."
	case hosts.Overdue:
		s.Fact = plural(k.hosts, "is silent", "are silent")
		if k.code == hosts.CodeLate {
			s.Fact = plural(k.hosts, "should have installed by now", "should have installed by now")
		}
		s.Cause = k.sites()
	case hosts.Unregistered:
		s.Fact = plural(k.hosts, "has never registered", "have never registered")
		s.Steps = append(s.Steps, view.Step{Text: "On the host, once", Command: "bakehouse-agent register",
			OnHost: true})
	case hosts.Waiting:
		s.Fact = plural(k.hosts, "is in no ring, and holds for ever", "are in no ring, and hold for ever")
		s.Cause = "Add them to a ring in rollout.cue."
	}
	return s
}

// errors is the most frequent error, and how many others there are.
func (k *kind) errors() string {
	first := k.causes[0]
	text := hosts.Excerpt(first.Cause)
	if text == "" {
		text = "They say no more than " + k.code
	}
	switch more := k.hosts - first.Hosts; {
	case more == 0:
		return text + "."
	default:
		return fmt.Sprintf("%s of them: %s. The others have %s.", number(first.Hosts), text,
			map[bool]string{true: "another error",
				false: number(len(k.causes)-1) + " other errors"}[len(k.causes) == 2])
	}
}

// sites says where the hosts are, if most of them are at one site.
func (k *kind) sites() string {
	first := k.causes[0]
	switch {
	case first.Cause == "":
		return ""
	case first.Hosts == k.hosts:
		return "All at site " + first.Cause + "."
	case first.Hosts > k.hosts/2:
		return number(first.Hosts) + " of them at site " + first.Cause + "."
	}
	return "At " + number(len(k.causes)) + " sites."
}

// siteSentences say which sites are silent or ill: one each, whatever number of hosts they have.
func siteSentences(list []view.Site) (out []view.Sentence) {
	for _, v := range list {
		n := v.Tally.Of(hosts.NotKnown)
		see := view.Step{Text: "See its hosts", Link: "/hosts?site=" + v.Name}
		switch {
		case v.Tally.Total == 0: // for who asks
		case v.Silent:
			s := view.Sentence{Code: hosts.CodeSiteSilent, Level: hosts.NotKnown, Hosts: n,
				Fact: "Site " + v.Name + " has not been heard of since " + v.Contact.UTC().Format(time.RFC3339),
				Cause: fmt.Sprintf("It goes on serving its hosts from what it has, and keeps their reports; the "+
					"states of %s are as of then.", cmp.Or(map[bool]string{true: "its only host"}[v.Tally.Total == 1],
					"its "+number(v.Tally.Total)+" hosts"))}
			s.Steps = []view.Step{{Text: "On its server", Command: "systemctl status bakehouse-server", OnHost: true},
				see}
			out = append(out, s)
		case v.Problem != "":
			out = append(out, view.Sentence{Code: "site", Level: hosts.Withheld,
				Fact: "Site " + v.Name + " has a problem", Cause: v.Problem + ".", Steps: []view.Step{see}})
		}
	}
	return out
}
