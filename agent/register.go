package agent

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

const maxPEM = 1 << 20

// RegisterOptions are the command line of register.
type RegisterOptions struct {
	Server string // empty: the baked one
	Host   string // as in the fleet's repo
	User   string
	CA     string   // file of certificates
	Anchor string   // file of root metadata, for a host without a package
	Keys   []string // files of public keys, likewise
	Force  bool     // even if the host is registered already, here or at the server
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
func (a *Agent) Register(ctx context.Context, o RegisterOptions) (*Registered, error) {
	end, err := a.begin("register")
	if err != nil {
		return nil, err
	}
	defer end()
	r, err := a.register(ctx, o)
	if err != nil {
		a.log.Error("register", "error", err, "hint", fault.HintOf(err))
	}
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
	if r := s.Registration; r != nil && !o.Force {
		return nil, fault.Hint(fmt.Errorf("this host is already registered, as %s at %s", r.Host, r.Server),
			"register with --force to replace the registration, or remove it with bakehouse-agent unregister")
	}
	if o.Server == "" && s.Config != nil {
		o.Server = s.Config.Server
	}
	if o.Server == "" {
		return nil, fault.Hint(errors.New("no server is set, neither by --server nor by an installed package"),
			"set it with --server URL")
	}
	if err := errors.Join(schema.CheckServerURL(o.Server), schema.CheckHostName(o.Host)); err != nil {
		return nil, err
	}
	if o.User == "" || strings.Contains(o.User, ":") {
		return nil, fault.Hint(errors.New("no user given, or the name has a colon"), "set it with --user NAME")
	}
	next := &state.Registration{Server: strings.TrimSuffix(o.Server, "/"), Host: o.Host}
	if o.CA != "" {
		b, err := needFile(o.CA, maxPEM)
		var certs []*x509.Certificate
		if err == nil {
			if certs, err = schema.ParseCertificates(string(b)); err != nil {
				err = fmt.Errorf("%s: %w", o.CA, err)
			}
		}
		if err != nil {
			return nil, fault.Hint(err, "set --ca to a PEM file with the certificate of the authority that signed the server's")
		}
		next.Certificates = []string{state.PEM(certs)}
	}
	boot, err := readBootstrap(o)
	if err != nil && fault.HintOf(err) == "" {
		err = fault.Hint(err, "set --anchor to trust/1.root.json of the fleet's repository, "+
			"--key to what `bakehouse key show NAME` prints")
	}
	if err != nil {
		return nil, err
	}
	// What the host knew of ways is of its registration before, which may have been with another fleet.
	s.Registration, s.Site, s.Worked = next, nil, nil
	known := a.held(s, boot)
	if known != nil {
		s.Learn(known.Policy())
	}
	certificates := s.Certificates()
	conf := wire.Config{Server: next.Server, Certificates: certificates, Proxy: s.Proxy(), Program: a.program(),
		User: o.User, Now: a.opts.Now, Stall: a.opts.Stall,
		Waiting: func(wait time.Duration) {
			a.warn("the server accepts no more attempts for now; trying again in %s", wait.Round(time.Second))
		}}
	switch {
	case strings.HasPrefix(next.Server, "http:"):
		a.warn("%s is plain HTTP: others on the network can read the password and this host's secret", next.Server)
	case len(certificates) == 0:
		a.warn("no CA certificate is set: any public authority can vouch for the server")
	}
	if conf.Password, err = o.Password(); err != nil {
		return nil, err
	}
	if conf.Password == "" {
		return nil, fault.Hint(errors.New("the password is empty"),
			"set it with --password-file, --password-fd or BAKEHOUSE_PASSWORD, or enter it on the terminal")
	}
	request := schema.RegisterRequest{
		Host: o.Host, Platform: a.platform, Agent: a.opts.Version, Replace: o.Force}
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
		return nil, explainRegister(err, o)
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

// held is what the host has verified of its fleet before; nil if it has no package, or if registration brings another
// anchor: then nothing of that is touched before it has succeeded.
func (a *Agent) held(s *state.Host, boot *state.Bootstrap) *trust.Client {
	anchor, _, _, err := s.Trusted()
	if err != nil || boot != nil {
		return nil
	}
	tc, err := trust.Open(a.files.Stored(trustDir), anchor, a.opts.Now)
	if err != nil {
		return nil // the next update says why
	}
	return tc
}

// explainRegister says what to do about the answers that a server gives to a registration.
func explainRegister(err error, o RegisterOptions) error {
	var status *wire.StatusError
	if !errors.As(err, &status) || status.Foreign {
		return err
	}
	server := fault.HintOf(err)
	switch status.Status {
	case http.StatusUnauthorized:
		return fault.Hint(fmt.Errorf("the server refuses user %s: wrong user or password", o.User),
			"check the password; users are listed in access.cue of the fleet's repository and exist once it is reconciled")
	case http.StatusForbidden:
		return fault.Hint(fmt.Errorf("user %s may not register host %s", o.User, o.Host),
			"give the user the permission register for this host in access.cue, and reconcile")
	case http.StatusNotFound:
		return fault.Hint(fmt.Errorf("the server does not know the host %s", o.Host),
			"add it under hosts/ in the fleet's repository and reconcile, or set --host to its name there")
	case http.StatusConflict:
		return fault.Hint(err, "if %s is this host, set up again, register with --force; another one that polls under "+
			"that name is locked out then. If it is not, "+
			"set --host to this host's name in the fleet's repository", o.Host)
	case http.StatusTooManyRequests:
		return fault.Hint(errors.New("the server accepts no more attempts for now"),
			"%s", cmp.Or(server, "wait a while and try again"))
	}
	return err
}

// readBootstrap reads what a host without a package needs to verify its first one; nil if nothing is given.
func readBootstrap(o RegisterOptions) (*state.Bootstrap, error) {
	if o.Anchor == "" && len(o.Keys) == 0 {
		return nil, nil
	}
	if o.Anchor == "" || len(o.Keys) == 0 {
		return nil, fault.Hint(errors.New("only one of --anchor and --key is set"),
			"a first package is verified with both: --anchor trust/1.root.json --key KEY.pem")
	}
	b := &state.Bootstrap{}
	var err error
	if b.Anchor, err = needFile(o.Anchor, schema.MaxRoot); err != nil {
		return nil, err
	}
	if _, err := trust.Open("", b.Anchor, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Anchor, err)
	}
	for _, name := range o.Keys {
		raw, err := needFile(name, maxPEM)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(raw)
		if block != nil && strings.Contains(block.Type, "PRIVATE") {
			return nil, fault.Hint(fmt.Errorf("%s holds a private key", name), "keep it off hosts: use its public half")
		}
		if _, err := schema.ParsePublicKey(string(raw)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		base := name[strings.LastIndexByte(name, '/')+1:]
		public := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
		b.Keys = append(b.Keys, schema.AcceptedKey{Name: strings.TrimSuffix(base, ".pem"), Public: string(public)})
	}
	return b, nil
}

func needFile(name string, limit int64) ([]byte, error) {
	b, err := state.ReadFile(name, limit)
	if err == nil && b == nil {
		err = fmt.Errorf("%s: no such file", name)
	}
	return b, err
}

// Unregister forgets the registration. What is installed stays, and goes on running; what the server has stays there.
func (a *Agent) Unregister() (was *Registered, err error) {
	end, err := a.begin("unregister")
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := a.files.Load()
	if err != nil {
		return nil, err
	}
	r := s.Registration
	if r == nil {
		return nil, fault.Hint(errors.New("this host is not registered"), "there is nothing to forget")
	}
	s.Registration, s.Hold = nil, ""
	return &Registered{Host: r.Host, Server: r.Server, Site: r.Site}, s.Save()
}
