package diagnose

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"strings"

	"bakehouse/agent/state"
	"bakehouse/schema"
)

// hidden is in the place of a secret.
const hidden = "(hidden)"

// shortest is the length from which on a secret is looked for everywhere: a shorter one is in many words.
const shortest = 4

// secretsOf are the secrets that are known on a host, in the forms in which they may be written, the longest first.
func secretsOf(h *state.Host, baked *schema.AgentConfig) []string {
	var plain []string
	user := ""
	if r := h.Registration; r != nil {
		plain, user = append(plain, r.Secret), r.Host
	}
	proxies := []string{}
	if baked != nil {
		proxies = append(proxies, baked.Proxy.URL)
	}
	if h.Worked != nil {
		proxies = append(proxies, h.Worked.Proxy.URL)
	}
	for _, name := range proxyVariables {
		proxies = append(proxies, os.Getenv(name), os.Getenv(strings.ToLower(name)))
	}
	for _, p := range proxies {
		u, err := url.Parse(p)
		if err != nil || u.User == nil {
			continue
		}
		if password, ok := u.User.Password(); ok {
			plain = append(plain, password)
			if _, as, ok := strings.Cut(u.User.String(), ":"); ok {
				plain = append(plain, as) // as it is in the URL
			}
			basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
			plain = append(plain, basic)
		}
	}
	for _, name := range secretVariables {
		plain = append(plain, os.Getenv(name))
	}
	var forms []string
	for _, s := range plain {
		if len(s) < shortest {
			continue
		}
		quoted, _ := json.Marshal(s)
		forms = append(forms, s, url.QueryEscape(s), url.PathEscape(s), strings.Trim(string(quoted), `"`),
			hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)),
			base64.StdEncoding.EncodeToString([]byte(user+":"+s)))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return forms
}

// By these register is given what proves who registers a host.
var secretVariables = []string{"BAKEHOUSE_PASSWORD", "BAKEHOUSE_TOKEN"}

var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}

// hide is text without the secrets.
func hide(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, hidden)
	}
	return text
}

// withoutSecrets is a record whose secrets are left out.
func withoutSecrets(r *state.Record) *state.Record {
	c := *r
	if c.Registration != nil {
		registration := *c.Registration
		registration.Secret = hidden
		c.Registration = &registration
	}
	if c.Worked != nil {
		way := *c.Worked
		way.Proxy = withoutPassword(way.Proxy)
		c.Worked = &way
	}
	return &c
}

func withoutPassword(p schema.Proxy) schema.Proxy {
	if u, err := url.Parse(p.URL); err != nil {
		p.URL = hidden
	} else if u.User != nil {
		u.User = url.User("hidden")
		p.URL = u.String()
	}
	return p
}
