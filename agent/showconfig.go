package agent

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"bakehouse/schema"
)

// Setting is one setting as the two files have it. Secrets are never in it.
type Setting struct {
	Name   string `json:"name"`
	Config string `json:"config,omitempty"` // schema.ConfigFile and AnchorFile: baked
	State  string `json:"state,omitempty"`  // state.json: from register
	Value  string `json:"value"`            // what counts
	From   string `json:"from"`             // config, state, both, default or none
}

// Settings are all of them, and where they stand.
type Settings struct {
	ConfigFile string    `json:"configFile"`
	StateFile  string    `json:"stateFile"`
	Problem    string    `json:"problem,omitempty"` // with the baked files
	Settings   []Setting `json:"settings"`

	err error
}

// Err is what is wrong with the baked files: no update can work.
func (s *Settings) Err() error { return s.err }

// ShowConfig reads both files and says which value wins.
func (a *Agent) ShowConfig() (*Settings, error) {
	s, err := a.load()
	if err != nil {
		return nil, err
	}
	out := &Settings{ConfigFile: a.path(schema.ConfigFile), StateFile: a.stored(stateFile)}
	if s.configErr != nil {
		out.Problem, out.err = s.configErr.Error(), s.configErr
	}
	c, r, b := s.config, s.state.Registration, s.state.Bootstrap
	if c == nil {
		c = &schema.AgentConfig{}
	}
	if r == nil {
		r = &Registration{}
	}
	if b == nil {
		b = &Bootstrap{}
	}
	have := s.config != nil
	// by adds a setting for which the baked value wins.
	by := func(name, config, state, fallback string) {
		v := Setting{Name: name, Config: config, State: state, Value: config, From: "config"}
		switch {
		case config != "":
		case state != "":
			v.Value, v.From = state, "state"
		case fallback != "":
			v.Value, v.From = fallback, "default"
		default:
			v.Value, v.From = "-", "none"
		}
		out.Settings = append(out.Settings, v)
	}
	baked := func(v any) string {
		if !have {
			return ""
		}
		return fmt.Sprint(v)
	}
	by("fleet", c.Fleet, "", "")
	by("host", "", r.Host, "")
	secret := ""
	if r.Secret != "" {
		secret = "set (hidden)"
	}
	by("host secret", "", secret, "")
	by("site", "", r.Site, "")
	server := Setting{Name: "server", Config: c.Server, State: r.Server, Value: "-", From: "none"}
	if urls := s.servers(); len(urls) > 0 {
		server.Value = strings.Join(urls, ", then ")
		switch {
		case len(urls) > 1 || c.Server == r.Server:
			server.From = "both"
		case urls[0] == r.Server:
			server.From = "state"
		default:
			server.From = "config"
		}
	}
	out.Settings = append(out.Settings, server)
	by("fixed server", baked(c.Fixed), "", "false")
	certs := Setting{Name: "certificates", Config: describeCertificates(c.Certificates), State: describeCertificates(r.Certificates)}
	switch {
	case certs.Config != "" && certs.State != "":
		certs.Value, certs.From = certs.Config+"; "+certs.State, "both"
	case certs.Config != "":
		certs.Value, certs.From = certs.Config, "config"
	case certs.State != "":
		certs.Value, certs.From = certs.State, "state"
	default:
		certs.Value, certs.From = "the system's authorities", "default"
	}
	out.Settings = append(out.Settings, certs)
	interval := ""
	if have {
		interval = c.Interval.String()
	}
	by("interval", interval, "", schema.Duration(defaultInterval).String())
	proxy := ""
	if have {
		proxy = describeProxy(c.Proxy)
	}
	by("proxy", proxy, "", "environment")
	by("anchor", describeAnchor(s.anchor), describeAnchor(b.Anchor), "")
	by("accepted keys", describeKeys(c.Keys), describeKeys(b.Keys), "")
	threshold := ""
	if have {
		threshold = fmt.Sprint(c.Threshold)
	}
	by("threshold", threshold, "", "1")
	by("package name", c.Package, "", "")
	by("program version", c.Version, "", "")
	by("registered at", "", timeOrNone(r.At), "")
	return out, nil
}

// Print writes s for people.
func (s *Settings) Print(w io.Writer) error {
	fmt.Fprintf(w, "config: %s\nstate:  %s\n", s.ConfigFile, s.StateFile)
	if s.Problem != "" {
		fmt.Fprintf(w, "problem: %s\n", s.Problem)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tFROM\tCONFIG\tSTATE")
	for _, v := range s.Settings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", v.Name, v.Value, v.From, orElse(v.Config, "-"), orElse(v.State, "-"))
	}
	return t.Flush()
}

func describeCertificates(pems []string) string {
	var out []string
	for _, p := range pems {
		certs, err := parseCertificates(p)
		if err != nil {
			out = append(out, "unreadable: "+err.Error())
			continue
		}
		for _, c := range certs {
			out = append(out, fmt.Sprintf("%s until %s", name(c.Subject.CommonName, c.DNSNames), c.NotAfter.UTC().Format(time.DateOnly)))
		}
	}
	return strings.Join(out, "; ")
}

func describeProxy(p schema.Proxy) string {
	if p.Mode != "explicit" {
		return orElse(p.Mode, "none")
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return "explicit (unreadable)"
	}
	if u.User != nil {
		u.User = url.User("hidden")
	}
	return u.String()
}

func describeAnchor(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	var root struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if json.Unmarshal(b, &root) != nil {
		return "unreadable"
	}
	return fmt.Sprintf("root %d, sha256 %s", root.Signed.Version, schema.DigestOf(b).Short())
}

func describeKeys(keys []schema.AcceptedKey) string {
	var out []string
	for _, k := range keys {
		id := "unreadable"
		if pub, err := parseKey(k.Public); err == nil {
			if der, err := x509.MarshalPKIXPublicKey(pub); err == nil {
				id = "sha256 " + schema.DigestOf(der).Short()
			}
		}
		if !k.Expires.IsZero() {
			id += ", until " + k.Expires.UTC().Format(time.DateOnly)
		}
		out = append(out, fmt.Sprintf("%s (%s)", clean(k.Name), id))
	}
	return strings.Join(out, ", ")
}

func timeOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
