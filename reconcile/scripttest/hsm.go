package scripttest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// softhsmModule is SoftHSM's PKCS #11 library, beside the program that comes with it.
func softhsmModule() (string, error) {
	for _, tool := range []string{"softhsm2-util", "pkcs11-tool", "flock"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", err
		}
	}
	util, _ := exec.LookPath("softhsm2-util")
	found, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(util)), "lib", "softhsm", "libsofthsm2.so"))
	if err != nil || len(found) == 0 {
		return "", errors.Join(errors.New("libsofthsm2.so is not beside softhsm2-util"), err)
	}
	return found[0], nil
}

// softhsm makes a token, and sets PLUGIN to the absolute path of a plugin that signs in it. HSM_PSS lists the RSA keys
// that sign in PSS there; others sign in PKCS #1 v1.5, and elliptic curves in ECDSA.
func softhsm(ts *testscript.TestScript, _ bool, _ []string) {
	module, err := softhsmModule()
	ts.Check(err)
	plugin, err := exec.LookPath("sigstore-kms-softhsm")
	ts.Check(err)
	tokens := ts.MkAbs("tokens")
	ts.Check(os.Mkdir(tokens, 0o700))
	ts.Check(os.WriteFile(ts.MkAbs("softhsm2.conf"), []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600))
	for k, v := range map[string]string{"PLUGIN": plugin, "HSM_MODULE": module, "HSM_PIN": "123456", "SOFTHSM2_CONF": ts.MkAbs("softhsm2.conf"), "LD_LIBRARY_PATH": os.Getenv("LD_LIBRARY_PATH")} {
		ts.Setenv(k, v)
	}
	ts.Check(ts.Exec("softhsm2-util", "--module", module, "--init-token", "--free", "--label", "bakehouse", "--pin", "123456", "--so-pin", "654321"))
}

// softhsmPlugin is the program: sigstore's plugin protocol, answered by SoftHSM through OpenSC's tool.
func softhsmPlugin() {
	args, err := handler.GetPluginArgs(os.Args)
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "BAKEHOUSE_PASSPHRASE_") {
			err = errors.New("a passphrase was handed to the plugin")
		}
	}
	if err != nil {
		_ = handler.WriteErrorResponse(os.Stdout, err)
		os.Exit(1)
	}
	if resp, err := handler.Dispatch(os.Stdout, os.Stdin, args, token{args.InitOptions.KeyResourceID}); err != nil || resp.ErrorMessage != "" {
		os.Exit(1)
	}
}

// token is a key pair in the token, by its label.
type token struct{ label string }

func (t token) tool(input []byte, args ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "softhsm-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, input, 0o600); err != nil {
		return nil, err
	}
	args = append([]string{"--module", os.Getenv("HSM_MODULE"), "--token-label", "bakehouse", "--label", t.label,
		"--id", fmt.Sprintf("%x", sha256.Sum256([]byte(t.label)))[:16], "--output-file", out}, args...) // the tool signs by id, not by label
	if input != nil {
		args = append(args, "--login", "--pin", "env:HSM_PIN", "--input-file", in)
	}
	// SoftHSM's tokens are files, and now and then a process finds none of them while another one uses them.
	if said, err := exec.Command("flock", append([]string{os.Getenv("SOFTHSM2_CONF"), "pkcs11-tool"}, args...)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pkcs11-tool: %w: %s", err, said)
	}
	b, err := os.ReadFile(out)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (t token) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	der, err := t.tool(nil, "--read-object", "--type", "pubkey")
	if err != nil {
		return nil, err
	}
	return cryptoutils.UnmarshalPEMToPublicKey(cryptoutils.PEMEncode(cryptoutils.PublicKeyPEMType, der))
}

func (t token) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	b, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	pub, err := t.PublicKey()
	if err != nil {
		return nil, err
	}
	if _, ok := pub.(*rsa.PublicKey); ok {
		mechanism := "SHA256-RSA-PKCS"
		if slices.Contains(strings.Fields(os.Getenv("HSM_PSS")), t.label) {
			mechanism += "-PSS"
		}
		return t.tool(b, "--sign", "--mechanism", mechanism)
	}
	digest := sha256.Sum256(b)
	return t.tool(digest[:], "--sign", "--mechanism", "ECDSA", "--signature-format", "openssl")
}

func (t token) CreateKey(_ context.Context, algorithm string) (crypto.PublicKey, error) {
	kind := map[string]string{"": "EC:prime256v1", "rsa": "RSA:2048"}[algorithm]
	if kind == "" {
		return nil, fmt.Errorf("algorithm %q is not known", algorithm)
	}
	if _, err := t.tool([]byte{}, "--keypairgen", "--key-type", kind); err != nil {
		return nil, err
	}
	return t.PublicKey()
}

func (t token) VerifySignature(io.Reader, io.Reader, ...signature.VerifyOption) error {
	return errors.ErrUnsupported
}
func (t token) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.ErrUnsupported
}
func (t token) SupportedAlgorithms() []string { return []string{"", "rsa"} }
func (t token) DefaultAlgorithm() string      { return "" }

// brokenplugin sets the plugin of broken://….
func usesBroken(ts *testscript.TestScript, _ bool, _ []string) {
	plugin, err := exec.LookPath("sigstore-kms-broken")
	ts.Check(err)
	ts.Setenv("BAKEHOUSE_KMS_PLUGIN", "broken="+plugin)
}

// brokenPlugin answers what no plugin should.
func brokenPlugin() {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		os.Exit(2)
	}
	switch args.InitOptions.KeyResourceID {
	case "garbage":
		fmt.Println("this is no JSON")
	case "empty":
		fmt.Println("{}")
	case "error":
		fmt.Println(`{"errorMessage":"the token is locked"}`)
		os.Exit(1)
	case "environment":
		answer := "the environment holds no passphrase"
		for _, v := range os.Environ() {
			if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "BAKEHOUSE_PASSPHRASE_") {
				answer = "the environment holds " + name
			}
		}
		_ = handler.WriteErrorResponse(os.Stdout, errors.New(answer))
	case "endless":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				os.Exit(1)
			}
		}
	}
}
