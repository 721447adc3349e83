package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"bakehouse/schema/fault"
)

// content asks the server for something whose digest is signed, so that it does not matter who sends it. If the server
// redirects, the other place is asked, once: over https, without the host's credentials, and only if it is an origin that
// signed policy names (schema.Policy.Origin). The certificates that policy gives for it vouch for it, or the public
// authorities, never those of the host's server. Nothing else that the host asks for may be redirected.
func (u *update) content(ctx context.Context, path string, header http.Header, limit int64, ok ...int) (*answer, error) {
	a, err := u.client.do(ctx, http.MethodGet, path, header, nil, limit, ok...)
	var moved *statusError
	if !errors.As(err, &moved) || moved.location == nil {
		return a, err
	}
	to := moved.location
	c, err := u.elsewhere(to)
	if err != nil {
		return nil, err
	}
	u.say("%s is at %s", path, c.base)
	a, err = c.do(ctx, http.MethodGet, to.RequestURI(), header, nil, limit, ok...)
	if errors.As(err, &moved) {
		if moved.location != nil {
			return nil, fault.Refuse(fmt.Errorf("the server redirects to %s, and that to %s: one redirect is followed, no more", c.base, place(moved.location)),
				"have the server name the last place")
		}
		err = fmt.Errorf("%s, to which the server redirects: %w", c.base, err)
	}
	return a, err
}

// elsewhere is the client for another origin than the server's own.
func (u *update) elsewhere(to *url.URL) (*client, error) {
	at := place(to)
	var why string
	certificates, named := u.trust.Policy().Origin(to)
	switch {
	case to.Scheme != "https":
		why = "which is not https"
	case to.User != nil:
		why = "and gives a user and password for it"
	case !named:
		why = "which is none of the origins that signed policy names"
	}
	if why != "" {
		return nil, fault.Refuse(fmt.Errorf("the server redirects to %s, %s", at, why),
			"if that is meant, name it under downloads.origins in fleet.cue and reconcile")
	}
	if i := slices.IndexFunc(u.others, func(c *client) bool { return c.base == at }); i >= 0 {
		return u.others[i], nil
	}
	var authorities []string
	if certificates != "" {
		authorities = []string{certificates}
	}
	c, err := newClient(at, authorities, u.proxy(), u.opts.Version, u.clock(u.trust))
	if err != nil {
		return nil, err
	}
	c.stall, c.fetched = u.opts.Stall, u.client.fetched
	u.others = append(u.others, c)
	return c, nil
}

// place is an URL without what may be secret in it: a signature in the query lets anybody fetch.
func place(u *url.URL) string { return clean(u.Scheme + "://" + u.Host) }

// location is where an answer redirects to, nil if it does not.
func location(res *http.Response) *url.URL {
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	to, err := res.Location()
	if err != nil || to.Host == "" {
		return nil
	}
	return to
}
