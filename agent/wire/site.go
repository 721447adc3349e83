package wire

import (
	"context"
	"fmt"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
)

// For is the client with which a site asks for one of its hosts, or for none. It shares c's connections, and may be
// used at the same time as c and others of it.
func (c *Client) For(host string) *Client {
	one := *c
	one.host, one.origins = host, nil
	return &one
}

// SitePoll sends what a site and its hosts have to say. The request's Schema is filled in.
func (c *Client) SitePoll(ctx context.Context, r uplink.PollRequest) (*uplink.PollAnswer, error) {
	var a uplink.PollAnswer
	r.Schema = c.speaks
	found, err := c.post(ctx, uplink.PollPath, r, &a)
	if err == nil {
		err = c.understands(a.Schema)
	}
	if err == nil && (!found || len(a.Hosts) > uplink.MaxRegistrations || len(a.Timestamp) > schema.MaxTimestamp) {
		err = &malformedError{fmt.Errorf("server %s: the answer to a site has %d registrations, and a timestamp of %d "+
			"bytes", c.base, len(a.Hosts), len(a.Timestamp))}
	}
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// Adopt asks who a host is registered as that came to a site.
func (c *Client) Adopt(ctx context.Context, r uplink.AdoptRequest) (*uplink.Registration, error) {
	var a uplink.Registration
	if _, err := c.post(ctx, uplink.AdoptPath, r, &a); err != nil {
		return nil, err
	}
	if schema.CheckHostName(a.Host) != nil || a.Secret != r.Secret {
		return nil, &malformedError{fmt.Errorf("server %s: the answer is of another registration", c.base)}
	}
	return &a, nil
}

// Forward hands on a registration as it came to a site.
func (c *Client) Forward(ctx context.Context, r uplink.RegisterRequest) (*schema.RegisterAnswer, error) {
	var a schema.RegisterAnswer
	if _, err := c.post(ctx, uplink.RegisterPath, r, &a); err != nil {
		return nil, err
	}
	if a.Secret == "" || len(a.Secret) > 1024 {
		return nil, &malformedError{fmt.Errorf("server %s: the answer has no usable secret", c.base)}
	}
	return &a, nil
}
