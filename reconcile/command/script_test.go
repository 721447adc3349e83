package command

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/command/key"
	"bakehouse/reconcile/command/root"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/keys/keystest"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/spf13/cobra"
	"github.com/youmark/pkcs8"
)

func TestMain(m *testing.M) {
	needs.Memory()
	testscript.Main(m, map[string]func(){"bakehouse": bakehouse})
}

// bakehouse is as much of the program as this package offers.
func bakehouse() {
	keystest.Cheap()
	program := &cobra.Command{Use: "bakehouse", SilenceErrors: true, SilenceUsage: true}
	program.AddCommand(key.Command(), root.Command())
	err := program.ExecuteContext(keys.TakePassphrases(context.Background()))
	if err != nil {
		fmt.Fprintf(os.Stderr, "bakehouse: error: %v\n", err)
		if h := fault.HintOf(err); h != "" {
			fmt.Fprintf(os.Stderr, "bakehouse: hint: %s\n", h)
		}
	}
	os.Exit(fault.ExitCode(err))
}

func TestScripts(t *testing.T) {
	needs.Tool(t, "git")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for k, v := range map[string]string{
				"XDG_CONFIG_HOME": filepath.Join(env.WorkDir, "config"), "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
				"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
			} {
				env.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// mode PERM FILE checks the file's permission bits, in octal.
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				fi, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := fmt.Sprintf("%04o", fi.Mode().Perm()); got != args[0] {
					ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
				}
			},
			"makekey": makeKey,
		},
	})
}

// makekey TYPE FORM FILE [PASSPHRASE-FILE] writes a key as other tools do; FORM certificate writes FILE.pem and
// FILE.crt and takes the certificate's end and beginning.
func makeKey(ts *testscript.TestScript, _ bool, args []string) {
	make := map[string]func() (crypto.Signer, error){
		"ed25519": func() (crypto.Signer, error) {
			_, priv, err := ed25519.GenerateKey(rand.Reader)
			return priv, err
		},
		"ecdsa":   func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"rsa":     func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
		"rsa1024": func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 1024) },
		"p384":    func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) },
	}[args[0]]
	priv, err := make()
	ts.Check(err)
	pkcs8key, err := x509.MarshalPKCS8PrivateKey(priv)
	ts.Check(err)
	write := func(file, kind string, der []byte) {
		ts.Check(os.WriteFile(ts.MkAbs(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	pass := func() []byte { return []byte(strings.TrimSpace(ts.ReadFile(args[3]))) }
	file := args[2]
	switch args[1] {
	case "pkcs8":
		write(file, "PRIVATE KEY", pkcs8key)
	case "pkcs8-encrypted":
		der, err := pkcs8.MarshalPrivateKey(priv, pass(), nil)
		ts.Check(err)
		write(file, "ENCRYPTED PRIVATE KEY", der)
	case "pkcs1":
		write(file, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(priv.(*rsa.PrivateKey)))
	case "sec1": // as openssl ecparam writes it
		der, err := x509.MarshalECPrivateKey(priv.(*ecdsa.PrivateKey))
		ts.Check(err)
		write(file, "EC PRIVATE KEY", der)
		parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}})
		ts.Check(os.WriteFile(ts.MkAbs(file), append(parameters, ts.ReadFile(file)...), 0o600))
	case "cosign", "sigstore":
		der, err := encrypted.EncryptWithCustomKDFParameters(pkcs8key, pass(), encrypted.Legacy)
		ts.Check(err)
		write(file, "ENCRYPTED "+strings.ToUpper(args[1])+" PRIVATE KEY", der)
	case "public":
		der, err := x509.MarshalPKIXPublicKey(priv.Public())
		ts.Check(err)
		write(file, "PUBLIC KEY", der)
	case "certificate":
		write(file+".pem", "PRIVATE KEY", pkcs8key)
		end, err := time.Parse(time.DateOnly, args[3])
		ts.Check(err)
		begin := end.AddDate(-20, 0, 0)
		if len(args) > 4 {
			begin, err = time.Parse(time.DateOnly, args[4])
			ts.Check(err)
		}
		cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "release"}, NotBefore: begin, NotAfter: end}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, priv.Public(), priv)
		ts.Check(err)
		write(file+".crt", "CERTIFICATE", der)
	default:
		ts.Fatalf("unknown form %s", args[1])
	}
}
