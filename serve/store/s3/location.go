package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"bakehouse/schema/fault"
)

// Form is what a location looks like, for help texts.
const Form = "s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION"

// parameters of a location, and what each means.
var parameters = map[string]string{
	"endpoint":    "URL of the server (default: AWS)",
	"region":      "the bucket's region (default: AWS_REGION)",
	"credentials": `a file in AWS's form, or "instance" to ask the machine's metadata service`,
	"profile":     "which credentials of that file",
	"ca":          "file with the authority of the server's certificate, PEM (default: the system's)",
	"insecure":    `"true" allows http:// beyond this machine: packages cross the network readably`,
}

// place is a parsed location.
type place struct {
	bucket, prefix string // prefix is empty or ends in a slash
	endpoint       *url.URL
	aws            bool
	query          url.Values
}

func parse(location string) (*place, error) {
	bad := func(format string, args ...any) error {
		return fault.Hint(fmt.Errorf("store: invalid S3 location: "+format, args...), "write %s", Form)
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil, bad("it is not a URL") // the error would repeat what may be a secret
	}
	if u.User != nil {
		return nil, fault.Hint(
			errors.New("store: invalid S3 location: it holds credentials, and locations are printed"),
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with ?credentials=FILE")
	}
	p := &place{bucket: u.Host, query: u.Query()}
	if p.prefix = strings.Trim(u.Path, "/"); p.prefix != "" {
		p.prefix += "/"
	}
	if p.bucket == "" || u.Fragment != "" || strings.Contains(p.prefix, "//") || strings.Contains(p.prefix, "..") {
		return nil, bad("no bucket, or an invalid prefix")
	}
	for name, values := range p.query {
		if parameters[name] == "" || len(values) != 1 {
			return nil, fault.Hint(
				fmt.Errorf("store: invalid S3 location: unknown parameter %.20q, or given twice", name),
				"the parameters are %s", strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		}
	}
	endpoint := p.query.Get("endpoint")
	if p.aws = endpoint == ""; p.aws {
		endpoint = "https://s3.amazonaws.com"
	}
	if p.endpoint, err = url.Parse(endpoint); err != nil || p.endpoint.Host == "" || p.endpoint.User != nil ||
		strings.Trim(p.endpoint.Path, "/") != "" || p.endpoint.RawQuery != "" {
		return nil, bad("the endpoint is not a URL of a host alone")
	}
	switch {
	case p.endpoint.Scheme == "https":
	case p.endpoint.Scheme != "http":
		return nil, bad("the endpoint is neither https:// nor http://")
	case !p.loopback() && p.query.Get("insecure") != "true":
		return nil, fault.Hint(fmt.Errorf("store: endpoint %s would carry packages readably", p.endpoint),
			"use https://; or add insecure=true if the network is trusted with everything that packages hold")
	}
	return p, nil
}

func (p *place) loopback() bool {
	host := p.endpoint.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// region is that of requests' signatures. Servers other than AWS mostly take any.
func (p *place) region() (string, error) {
	for _, region := range []string{p.query.Get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")} {
		if region != "" {
			return region, nil
		}
	}
	if p.aws {
		return "", fault.Hint(errors.New("store: the bucket's region is not known"),
			"add region=REGION or set AWS_REGION")
	}
	return "us-east-1", nil
}

// credentials come from the environment or a file; the machine's metadata service is asked only by order, since
// whatever answers at its address would be believed.
func (p *place) credentials() (*credentials.Credentials, error) {
	file := p.query.Get("credentials")
	if file == "instance" {
		return credentials.NewIAM(""), nil
	}
	if id := os.Getenv("AWS_ACCESS_KEY_ID"); file == "" && id != "" {
		return credentials.NewStaticV4(id, os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")), nil
	}
	if file == "" {
		file = os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	}
	if home, err := os.UserHomeDir(); file == "" && err == nil {
		file = filepath.Join(home, ".aws", "credentials")
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fault.Hint(fmt.Errorf("store: no credentials for bucket %s: %w", p.bucket, err),
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or name a file with ?credentials=FILE, or "+
				"?credentials=instance on a machine that has a role")
	}
	return credentials.NewFileAWSCredentials(file, p.query.Get("profile")), nil
}

// Limits are how long a server may take.
type Limits struct {
	Header time.Duration // until an answer begins, once all is sent
	Stall  time.Duration // without a byte of a body
	Call   time.Duration // for a call without a body, with its repetitions
}

// DefaultLimits are those of Open.
var DefaultLimits = Limits{Header: 30 * time.Second, Stall: 30 * time.Second, Call: 100 * time.Second}

// retries are how often a call is made in all.
const retries = 3

func (p *place) client(limits Limits) (*minio.Core, error) {
	region, err := p.region()
	if err != nil {
		return nil, err
	}
	creds, err := p.credentials()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: limits.Header,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if file := p.query.Get("ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("store: %w", err), "ca names a file with the server's authority, PEM")
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Hint(fmt.Errorf("store: %s has no certificate", file), "PEM is expected")
		}
	}
	lookup := minio.BucketLookupPath
	if p.aws {
		lookup = minio.BucketLookupAuto
	}
	client, err := minio.NewCore(p.endpoint.Host, &minio.Options{Creds: creds, Secure: p.endpoint.Scheme == "https",
		Transport: clock{transport}, Region: region, BucketLookup: lookup, MaxRetries: retries})
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("store: %w", err), "write %s", Form)
	}
	return client, nil
}
