package agent

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

const (
	maxConfig       = 1 << 20
	defaultInterval = time.Hour
)

// settings are the baked files and the state file, read together. Where both say something, the baked files win.
type settings struct {
	config    *schema.AgentConfig // nil: no package of ours is installed
	anchor    []byte              // baked; nil likewise
	configErr error               // the baked files are there and unusable
	state     *State
}

func (a *Agent) load() (*settings, error) {
	st, err := readState(a.stored())
	if err != nil {
		return nil, err
	}
	s := &settings{state: st}
	s.config, s.anchor, s.configErr = a.readBaked()
	return s, nil
}

// readBaked reads what the package brought along; nothing if there is no package.
func (a *Agent) readBaked() (*schema.AgentConfig, []byte, error) {
	const hint = "install this host's package again: bakehouse package HOST -o FILE on the server, then dpkg -i FILE here"
	name := a.path(schema.ConfigFile)
	b, err := readFile(name, maxConfig)
	if err != nil || b == nil {
		return nil, nil, err
	}
	config, err := decodeConfig(b)
	if err != nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s: %w", name, err), hint)
	}
	anchor, err := readFile(a.path(schema.AnchorFile), schema.MaxRoot)
	if err != nil {
		return nil, nil, err
	}
	if len(anchor) == 0 {
		return nil, nil, fault.Hint(fmt.Errorf("%s is missing or empty", a.path(schema.AnchorFile)), hint)
	}
	if _, err := trust.Open("", anchor, a.opts.Now); err != nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s: %w", a.path(schema.AnchorFile), err), hint)
	}
	return config, anchor, nil
}

// decodeConfig reads the baked settings and everything in them that will be used.
func decodeConfig(b []byte) (*schema.AgentConfig, error) {
	c, err := schema.DecodeAgentConfig(b)
	if err != nil {
		return nil, err
	}
	for i, cert := range c.Certificates {
		if _, err := parseCertificates(cert); err != nil {
			return nil, fmt.Errorf("certificates[%d]: %w", i, err)
		}
	}
	for _, k := range c.Keys {
		if _, err := parseKey(k.Public); err != nil {
			return nil, fmt.Errorf("signature key %.80q: %w", k.Name, err)
		}
	}
	_, err = proxyFunc(c.Proxy)
	return c, err
}

func parseKey(s string) (any, error) {
	block, _ := pem.Decode([]byte(s))
	if block == nil {
		return nil, errors.New("is no PEM")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// parseCertificates reads all certificates in PEM text; other blocks, such as a private key put there by mistake, are
// refused.
func parseCertificates(s string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := []byte(s); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %.40q where a certificate is expected", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate in PEM form")
	}
	return certs, nil
}

// trusted is the anchor and the signature keys that are in force.
func (s *settings) trusted() (anchor []byte, keys []schema.AcceptedKey, threshold int, err error) {
	switch {
	case s.configErr != nil:
		return nil, nil, 0, s.configErr
	case s.config != nil:
		return s.anchor, s.config.Keys, s.config.Threshold, nil
	case s.state.Bootstrap != nil:
		return s.state.Bootstrap.Anchor, s.state.Bootstrap.Keys, 1, nil
	}
	return nil, nil, 0, fault.Hint(errors.New("this host has no package of the fleet yet, and nothing to verify one with"),
		"install its package by hand, or register again with --force --anchor trust/1.root.json --key KEY.pem")
}

// servers lists the servers to ask, the first that answers being used: the one that this host is registered with, then
// the baked one; a fixed one is the only one.
func (s *settings) servers() []string {
	var urls []string
	if r := s.state.Registration; r != nil && (s.config == nil || !s.config.Fixed) {
		urls = append(urls, r.Server)
	}
	if s.config != nil && !slices.Contains(urls, s.config.Server) {
		urls = append(urls, s.config.Server)
	}
	return urls
}

// certificates are the authorities that servers are believed by: given any, the system's are not asked.
func (s *settings) certificates() []string {
	var pems []string
	if s.config != nil {
		pems = append(pems, s.config.Certificates...)
	}
	if r := s.state.Registration; r != nil {
		pems = append(pems, r.Certificates...)
	}
	return pems
}

func (s *settings) proxy() schema.Proxy {
	if s.config != nil {
		return s.config.Proxy
	}
	return schema.Proxy{Mode: "environment"}
}

func (s *settings) interval() time.Duration {
	if s.config != nil {
		return time.Duration(s.config.Interval)
	}
	return defaultInterval
}

// packageName is the name that packages must have; empty: any, for the first one.
func (s *settings) packageName() string {
	if s.config != nil {
		return s.config.Package
	}
	return ""
}

var errUnregistered = fault.Hint(errors.New("this host is not registered"),
	"run bakehouse-agent register --server URL --host NAME --user USER")
