package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/trust/statement"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// InFlight is how many signatures are made at a time: most of one's time, a KMS or HSM is waited for.
const InFlight = 16

// remoteTimeout bounds one call to a KMS or plugin.
const remoteTimeout = time.Minute

// keyService holds private halves that never leave it.
type keyService interface {
	PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error)
	SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error)
	CreateKey(ctx context.Context, algorithm string) (crypto.PublicKey, error)
}

// cloudSchemes are the key services that a full build knows by itself.
var cloudSchemes = []string{"awskms", "azurekms", "gcpkms", "hashivault", "openbao"}

func isCloud(scheme string) bool { return slices.Contains(cloudSchemes, scheme) }

// services are the key services within reach: those of this build, and the plugins, which are programs by the scheme
// of URIs.
type services map[string]string

// reach says why keys at scheme:// are out of reach here.
func (s services) reach(scheme string) error {
	switch {
	case isCloud(scheme) && !FullBuild:
		return fault.Hint(fmt.Errorf("this build of bakehouse has no %s", scheme),
			"take the full build: go build -tags kms")
	case !isCloud(scheme) && s[scheme] == "":
		return fault.Hint(fmt.Errorf("no plugin is set for %.40q", scheme+"://"),
			"set its program with --kms-plugin %.40s=/absolute/path", scheme)
	}
	return nil
}

// open opens the key service of a URI.
func (s services) open(ctx context.Context, uri string) (keyService, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || schema.CheckName(scheme) != nil || rest == "" {
		return nil, fault.Hint(fmt.Errorf("%.120q is not the URI of a key", uri),
			"such as awskms:///alias/release, or hsm://release for a plugin")
	}
	if err := s.reach(scheme); err != nil {
		return nil, err
	}
	if isCloud(scheme) {
		return openCloud(ctx, uri)
	}
	return &plugin{s[scheme], rest}, nil
}

// signers are those whose private half is at the key's URI.
func (s services) signers(key *fleet.Key) (Signers, error) {
	ctx, cancel := context.WithTimeout(context.Background(), remoteTimeout)
	defer cancel()
	service, err := s.open(ctx, key.Private)
	if err != nil {
		return Signers{}, fmt.Errorf("key %s: %w", key.Name, err)
	}
	pub, err := service.PublicKey(options.WithContext(ctx))
	if err != nil {
		return Signers{}, fmt.Errorf("key %s: %w", key.Name, err)
	}
	statements, err := statement.LoadVerifier(pub)
	if err != nil {
		return Signers{}, fmt.Errorf("key %s: %w", key.Name, err)
	}
	metadata := statements
	if k, ok := pub.(*rsa.PublicKey); ok {
		metadata, err = signature.LoadRSAPSSVerifier(k, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256})
	}
	return Signers{Metadata: &remoteSigner{service, pub, metadata, "TUF metadata", "RSA-PSS"},
		Statement: &remoteSigner{service, pub, statements, "statements", "RSA PKCS #1 v1.5"}}, err
}

// remoteSigner signs where the private half is. Which scheme an RSA key has is set there and cannot be asked for, so
// each signature is verified here before it counts: a key for roles has to sign in one scheme, a key for packages in
// the other.
type remoteSigner struct {
	service  keyService
	pub      crypto.PublicKey
	verifier signature.Verifier
	of, rsa  string // what it signs, and the scheme of RSA keys for that
}

func (r *remoteSigner) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return r.pub, nil
}

func (r *remoteSigner) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	b, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), remoteTimeout)
	defer cancel()
	sig, err := r.service.SignMessage(bytes.NewReader(b), append(opts, options.WithContext(ctx))...)
	if err != nil {
		return nil, err
	}
	if err := r.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(b)); err != nil {
		return nil, fault.Hint(fmt.Errorf("the key service made a signature that no host would accept: %w", err),
			"for %s the key must sign Ed25519, ECDSA P-256 with SHA-256, or %s with SHA-256", r.of, r.rsa)
	}
	return sig, nil
}

// plugin is a program that speaks sigstore's plugin protocol (v1): arguments as JSON on its command line, a message
// on its standard input, the answer as JSON on its standard output. sigstore's own client finds programs by PATH;
// here the operator names one, and nothing is looked for.
type plugin struct {
	path string
	key  string // of the URI, what follows ://
}

// maxAnswer bounds what a plugin may say, in bytes.
const maxAnswer = 1 << 20

func (p *plugin) call(ctx context.Context, message io.Reader, args *common.MethodArgs) (*common.PluginResp, error) {
	init := &common.InitOptions{ProtocolVersion: common.ProtocolVersion, KeyResourceID: p.key, HashFunc: crypto.SHA256,
		RPCOptions: &common.RPCOptions{}}
	if deadline, ok := ctx.Deadline(); ok {
		init.CtxDeadline = &deadline
	}
	arg, err := json.Marshal(common.PluginArgs{InitOptions: init, MethodArgs: args})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, p.path, common.ProtocolVersion, string(arg))
	cmd.WaitDelay = time.Second // for what it left behind that holds its output open
	cmd.Stdin, cmd.Stderr = message, os.Stderr
	answer := &bounded{left: maxAnswer, stop: cancel}
	cmd.Stdout = answer
	err = cmd.Run()
	// As in sigstore: a plugin that says why it failed also exits with a code above 0.
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 1) {
		return nil, fmt.Errorf("plugin %s: %w", p.path, cmp.Or(context.Cause(ctx), err))
	}
	var resp common.PluginResp
	if jerr := json.Unmarshal(answer.kept.Bytes(), &resp); jerr != nil {
		return nil, fmt.Errorf("plugin %s: its answer is not JSON: %w", p.path, errors.Join(jerr, err))
	}
	if resp.ErrorMessage != "" {
		return nil, fmt.Errorf("plugin %s: %.400s", p.path, resp.ErrorMessage)
	}
	return &resp, nil
}

// bounded keeps what is written, and stops who writes more than is left. The buffer is not embedded: io.Copy would
// then read into it past Write.
type bounded struct {
	kept bytes.Buffer
	left int
	stop context.CancelCauseFunc
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		err := fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
		b.stop(err)
		return 0, err
	}
	return b.kept.Write(p)
}

func (p *plugin) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	ctx := context.Background()
	for _, o := range opts {
		o.ApplyContext(&ctx)
	}
	resp, err := p.call(ctx, nil, &common.MethodArgs{MethodName: common.PublicKeyMethodName,
		PublicKey: &common.PublicKeyArgs{PublicKeyOptions: &common.PublicKeyOptions{}}})
	if err != nil {
		return nil, err
	}
	if resp.PublicKey == nil {
		return nil, fmt.Errorf("plugin %s: its answer holds no public key", p.path)
	}
	return cryptoutils.UnmarshalPEMToPublicKey(resp.PublicKey.PublicKeyPEM)
}

func (p *plugin) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	ctx := context.Background()
	for _, o := range opts {
		o.ApplyContext(&ctx)
	}
	resp, err := p.call(ctx, message, &common.MethodArgs{MethodName: common.SignMessageMethodName,
		SignMessage: &common.SignMessageArgs{SignOptions: &common.SignOptions{}}})
	if err != nil {
		return nil, err
	}
	if resp.SignMessage == nil {
		return nil, fmt.Errorf("plugin %s: its answer holds no signature", p.path)
	}
	return resp.SignMessage.Signature, nil
}

func (p *plugin) CreateKey(ctx context.Context, algorithm string) (crypto.PublicKey, error) {
	resp, err := p.call(ctx, nil, &common.MethodArgs{MethodName: common.CreateKeyMethodName,
		CreateKey: &common.CreateKeyArgs{Algorithm: algorithm}})
	if err != nil {
		return nil, err
	}
	if resp.CreateKey == nil {
		return nil, fmt.Errorf("plugin %s: its answer holds no public key", p.path)
	}
	return cryptoutils.UnmarshalPEMToPublicKey(resp.CreateKey.PublicKeyPEM)
}
