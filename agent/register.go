package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/agent/contact"
	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// RegisterOptions are the command line of register.
type RegisterOptions struct {
	contact.Options
	Server string // empty: the baked one, or that of the registration before
	Host   string // as in the fleet's repo; empty: as it was registered before
	User   string
	Token  bool          // Password gives a join token, and User is empty
	Force  bool          // even if the host is registered already, here or at the server
	Wait   time.Duration // how long to try while the server is not there, or does not know the host; 0: once
	// Password is asked for last, once everything else is right. It is sent and forgotten.
	Password func() (string, error)
}

// Registered says how the host is registered, without the secret.
type Registered struct {
	Host   string `json:"host"`
	Server string `json:"server"`
	Site   string `json:"site,omitempty"`
}

// Known returns what the host knows of its registration: the server and the host's name, empty where
// it does not. If its state cannot be read, what the package says is returned beside the error.
func (a *Agent) Known() (server, host string, registered bool, err error) {
	s, err := a.files.Load()
	if err != nil {
		s = a.files.Fresh()
	}
	if urls := s.Servers(); len(urls) > 0 {
		server = urls[0]
	}
	if r := s.Registration; r != nil {
		return server, r.Host, true, err
	}
	return server, "", false, err
}

// Register agrees a secret with the server, by a user's name and password, and remembers it. With o.Force a damaged or
// existing registration is replaced; what is installed and verified stays known.
func (a *Agent) Register(ctx context.Context, o RegisterOptions) (r *Registered, err error) {
	ask := o.Password
	o.Password = sync.OnceValues(func() (string, error) { return ask() })
	// Between two attempts the host is unlocked, and somebody else may register it.
	err = contact.Wait(ctx, o.Wait, func() error {
		end, err := a.begin("register")
		if err != nil {
			return err
		}
		defer end()
		if r, err = a.register(ctx, o); err != nil {
			a.log.Error("register", "error", err, "hint", fault.HintOf(err))
		}
		return err
	}, a.warn)
	return r, err
}

func (a *Agent) register(ctx context.Context, o RegisterOptions) (*Registered, error) {
	s, err := a.files.Load()
	if err != nil && o.Force {
		s = a.files.Fresh()
	} else if err != nil {
		return nil, err
	}
	if s.Problem != nil {
		return nil, s.Problem
	}
	before := s.Registration
	if before != nil && !o.Force {
		return nil, fault.Hint(fmt.Errorf("this host is already registered, as %s at %s", before.Host, before.Server),
			"register with --force to replace the registration, or remove it with bakehouse-agent unregister")
	}
	if before == nil {
		before = &state.Registration{}
	}
	if o.Server == "" && s.Config != nil {
		o.Server = s.Config.Server
	}
	o.Server, o.Host = cmp.Or(o.Server, before.Server), cmp.Or(o.Host, before.Host)
	if o.Server == "" {
		return nil, fault.Hint(errors.New("no server is set, neither by --server nor by an installed package"),
			"set it with --server URL")
	}
	if err := errors.Join(schema.CheckServerURL(o.Server), schema.CheckHostName(o.Host)); err != nil {
		return nil, err
	}
	if o.User == "" && !o.Token || strings.Contains(o.User, ":") {
		return nil, fault.Hint(errors.New("no user given, or the name has a colon"), "set it with --user NAME")
	}
	if err := o.Check(o.Server); err != nil {
		return nil, err
	}
	if o.SkipSignatures && a.rooted(s) {
		return nil, fault.Refuse(errors.New("--skip-signatures: this host has a root already, and verifies by it"),
			"leave the flag out; another fleet's root is set by --anchor FILE --key FILE --force")
	}
	next := &state.Registration{Server: strings.TrimSuffix(o.Server, "/"), Host: o.Host}
	conf := wire.Config{Server: next.Server, Proxy: s.Proxy(), Insecure: o.Insecure, Program: a.program(),
		User: o.User, Now: a.opts.Now, Stall: a.opts.Stall,
		Waiting: func(wait time.Duration) {
			a.warn("the server accepts no more attempts for now; trying again in %s", wait.Round(time.Second))
		}}
	if next.Certificates, err = o.Certificates(ctx, conf, a.warn); err != nil {
		return nil, err
	}
	if next.Certificates == nil && before.Server == next.Server {
		next.Certificates = before.Certificates
	}
	request := schema.RegisterRequest{
		Host: o.Host, Platform: a.platform, Agent: a.opts.Version, Replace: o.Force}
	if before.Host == o.Host && !o.Insecure && slices.Contains(s.Servers(), next.Server) {
		request.Secret = before.Secret // which that server has had at each poll
	}
	// What the host knew of ways is of its registration before, which may have been with another fleet.
	s.Registration, s.Site, s.Worked = next, nil, nil
	conf.Certificates = s.Certificates()
	boot, err := o.Bootstrap(ctx, conf, a.warn)
	if err != nil {
		return nil, err
	}
	known := a.held(s, boot)
	if known != nil {
		s.Learn(known.Policy())
		conf.Certificates = s.Certificates()
	}
	o.GivesUp(conf, a.warn)
	if conf.Password, err = o.Password(); err != nil {
		return nil, err
	}
	if conf.Password == "" {
		return nil, fault.Hint(errors.New("the password is empty"),
			"set it with --password-file, --password-fd or BAKEHOUSE_PASSWORD, or enter it on the terminal")
	}
	answer, err := registerAt(ctx, conf, request)
	if known != nil && errors.Is(err, wire.ErrCertificate) {
		doubted := state.Way{Server: conf.Server, Proxy: conf.Proxy}
		find := &search{Agent: a, host: s, trust: known, doubted: []state.Way{doubted}}
		if find.adopt(ctx) {
			conf.Certificates = s.Certificates()
			answer, err = registerAt(ctx, conf, request)
		}
	}
	if err != nil {
		return nil, contact.Explain(err, o.User, o.Host)
	}
	next.Machine = s.Machine()
	next.Secret, next.At = answer.Secret, a.opts.Now().UTC().Truncate(time.Second)
	if schema.CheckName(answer.Site) == nil {
		next.Site = answer.Site
	}
	s.Hold, s.Reported = "", nil
	if boot != nil {
		s.Bootstrap = boot
	}
	if err := s.Save(); err != nil {
		return nil, err
	}
	a.log.Info("registered", "host", next.Host, "server", next.Server, "site", next.Site)
	return &Registered{Host: next.Host, Server: next.Server, Site: next.Site}, nil
}

// registerAt asks one server for a host's secret.
func registerAt(ctx context.Context, conf wire.Config, r schema.RegisterRequest) (*schema.RegisterAnswer, error) {
	c, err := wire.New(conf)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Register(ctx, r)
}

// rooted reports whether the host has a root to verify by, or has had one.
func (a *Agent) rooted(s *state.Host) bool {
	kept, err := os.ReadDir(a.files.Stored(s.TrustDir()))
	return len(s.Anchor) > 0 || s.Bootstrap != nil || len(kept) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// held is what the host has verified of its fleet before; nil if it has no package. If registration brings another
// anchor, it is that alone: nothing that is stored is touched before registration has succeeded.
func (a *Agent) held(s *state.Host, boot *state.Bootstrap) *trust.Client {
	dir := a.files.Stored(s.TrustDir())
	anchor, _, _, err := s.Trusted()
	if boot != nil {
		dir, anchor, err = "", boot.Anchor, nil
	}
	if err != nil {
		return nil
	}
	tc, err := trust.Open(dir, anchor, a.opts.Now)
	if err != nil {
		return nil // the next update says why
	}
	return tc
}

// Unregister forgets the registration. What is installed stays, and goes on running. The
// server is told, if it can be had: untold is why it was not.
func (a *Agent) Unregister(ctx context.Context) (was *Registered, untold, err error) {
	end, err := a.begin("unregister")
	if err != nil {
		return nil, nil, err
	}
	defer end()
	s, err := a.files.Load()
	if err != nil {
		return nil, nil, err
	}
	r := s.Registration
	if r == nil {
		return nil, nil, fault.Hint(errors.New("this host is not registered"), "there is nothing to forget")
	}
	untold = contact.Tell(ctx, s.Ways(), func(way state.Way) (*wire.Client, error) {
		return a.dial(s, way, a.opts.Now)
	})
	s.Registration, s.Hold = nil, ""
	return &Registered{Host: r.Host, Server: r.Server, Site: r.Site}, untold, s.Save()
}
