package remote

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Form is what a location looks like, for help texts.
const Form = "https://SERVER?user=USER&password-file=FILE"

// PasswordVariable of the environment is the password if the location names no file with it.
const PasswordVariable = "BAKEHOUSE_STORE_PASSWORD"

// parameters of a location.
var parameters = []string{"user", "password-file", "ca"}

const maxPassword = 4096

// TakePassword takes the password out of this process's environment, so that no child (git, go build, an evaluator)
// has it.
var TakePassword = sync.OnceValue(func() string {
	password := os.Getenv(PasswordVariable)
	_ = os.Unsetenv(PasswordVariable)
	return password
})

// place is a parsed location.
type place struct {
	url            string // of the server, without a slash at its end
	user, password string
	authorities    *x509.CertPool // nil: the system's
}

func parse(location string) (*place, error) {
	bad := func(text string) error {
		return fault.Hint(errors.New("store: invalid location of a server: "+text), "write %s", Form)
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil, bad("it is not a URL") // the error would repeat what may be a secret
	}
	if u.User != nil {
		return nil, fault.Hint(
			errors.New("store: invalid location of a server: it holds credentials, and locations are printed"),
			"name the user with ?user=USER, and set %s or name a file with password-file=FILE", PasswordVariable)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, bad("its parameters are malformed")
	}
	for name, values := range query {
		if !slices.Contains(parameters, name) || len(values) != 1 {
			return nil, fault.Hint(
				fmt.Errorf("store: invalid location of a server: unknown parameter %.20q, or given twice", name),
				"the parameters are %s", strings.Join(slices.Sorted(slices.Values(parameters)), ", "))
		}
	}
	p := &place{user: query.Get("user")}
	u.RawQuery, u.ForceQuery = "", false
	p.url = strings.TrimSuffix(u.String(), "/")
	if err := schema.CheckServerURL(p.url); err != nil || u.Scheme != "https" {
		return nil, bad("it is not https:// and the name of a server")
	}
	if p.user == "" || strings.Contains(p.user, ":") {
		return nil, fault.Hint(fmt.Errorf("store %s: no user is set, or the name has a colon", p.url),
			"add ?user=USER: an automation user with the permission publish (bakehouse access add)")
	}
	if file := query.Get("ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("store: %w", err), "ca names a file with the server's authority, PEM")
		}
		certs, err := schema.ParseCertificates(string(pem))
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("store: %s: %w", file, err),
				"ca names a file with the server's authority, PEM")
		}
		p.authorities = x509.NewCertPool()
		for _, c := range certs {
			p.authorities.AddCert(c)
		}
	}
	p.password, err = readPassword(p.url, query.Get("password-file"))
	return p, err
}

// readPassword reads the first line of a file, or the environment if none is named.
func readPassword(server, file string) (string, error) {
	if file == "" {
		if password := TakePassword(); password != "" {
			return password, nil
		}
		return "", fault.Hint(fmt.Errorf("store %s: no password", server),
			"set %s, or name a file whose first line is the password with password-file=FILE", PasswordVariable)
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fault.Hint(fmt.Errorf("store: %w", err),
			"password-file names a file whose first line is the password")
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("store: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fault.Hint(fmt.Errorf("store %s: the password is empty", server),
			"its first line is read from %s", file)
	}
	return line, nil
}

// Limits are how long a server may take.
type Limits struct {
	Header time.Duration // until an answer begins, once all is sent
	Stall  time.Duration // without a byte of a body
	Away   time.Duration // until one that does not answer, or answers that it cannot, is given up
}

// DefaultLimits are those of Open. A server that is started again is waited for.
var DefaultLimits = Limits{Header: 60 * time.Second, Stall: 60 * time.Second, Away: 60 * time.Second}

func (p *place) client(limits Limits) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: limits.Header,
			ExpectContinueTimeout: limits.Header, // the server always says whether it wants the body
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       time.Minute,
			DisableCompression:    true,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.authorities},
		},
		// The credentials are for this server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
