// Command cosign is as much of cosign as verifies a package by a statement and a key: it reads the command line of
// `cosign verify-blob-attestation` and calls what that calls. The whole of cosign is 1,765 packages, with the clients
// of four clouds, Kubernetes and two policy languages, and takes minutes to compile; this is 703.
package main

import (
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/sigstore/cosign/v3/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "Verified OK")
}

func run(args []string) error {
	flags := flag.NewFlagSet("cosign verify-blob-attestation", flag.ExitOnError)
	key := flags.String("key", "", "public key, PEM")
	from := flags.String("bundle", "", "Sigstore bundle")
	predicate := flags.String("type", "custom", "predicate type")
	ignoreLog := flags.Bool("insecure-ignore-tlog", false, "ask for no entry in a transparency log")
	if len(args) == 0 || args[0] != "verify-blob-attestation" || flags.Parse(args[1:]) != nil || flags.NArg() != 1 {
		return errors.New("want verify-blob-attestation with flags and a file")
	}
	pem, err := os.ReadFile(*key)
	if err != nil {
		return err
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return err
	}
	verifier, err := signature.LoadVerifier(public, crypto.SHA256) // what cosign does with a file
	if err != nil {
		return err
	}
	signed, err := bundle.LoadJSONFromPath(*from)
	if err != nil {
		return err
	}
	blob, err := os.Open(flags.Arg(0))
	if err != nil {
		return err
	}
	defer blob.Close()
	options := &cosign.CheckOpts{SigVerifier: verifier, IgnoreTlog: *ignoreLog, NewBundleFormat: true,
		ClaimVerifier: cosign.IntotoSubjectClaimVerifier}
	result, err := cosign.VerifyNewBundle(context.Background(), options, verify.WithArtifact(blob), signed)
	if err != nil {
		return err
	}
	if got := result.Statement.GetPredicateType(); got != *predicate {
		return fmt.Errorf("invalid predicate type, expected %s got %s", *predicate, got)
	}
	return nil
}
