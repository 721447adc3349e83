package source

import (
	"errors"
	"fmt"
	"io"
	"os"

	"bakehouse/schema/fault"
)

// Signers are those whose signatures on commits count. They come from the operator's files and never from a commit:
// whoever may write what is checked must not write what checks it.
type Signers struct {
	ssh *allowedSigners
	pgp *keyring
}

// Signers reads an allowed_signers file (SSH), an OpenPGP keyring, or both; a name may be empty, but not both. Files
// that the repository holds, or that a symbolic link in it leads to, are refused.
func (r *Repo) Signers(allowed, keyring string) (*Signers, error) {
	if allowed == "" && keyring == "" {
		return nil, fault.Hint(errors.New("commits are to be verified, and nothing says who may sign them"),
			"name a file outside the repository: --allowed-signers FILE (SSH keys) or --keyring FILE (OpenPGP keys)")
	}
	s := &Signers{}
	if allowed != "" {
		b, err := r.readOutside(allowed, maxSigners)
		if err != nil {
			return nil, fmt.Errorf("allowed signers: %w", err)
		}
		if s.ssh, err = parseAllowedSigners(allowed, b); err != nil {
			return nil, fmt.Errorf("allowed signers: %w", err)
		}
	}
	if keyring != "" {
		b, err := r.readOutside(keyring, maxKeyring)
		if err != nil {
			return nil, fmt.Errorf("keyring: %w", err)
		}
		if s.pgp, err = parseKeyring(keyring, b); err != nil {
			return nil, fmt.Errorf("keyring: %w", err)
		}
	}
	return s, nil
}

// readOutside reads a regular file of at most limit bytes, and one more if it is larger, after Outside has passed it.
func (r *Repo) readOutside(name string, limit int64) ([]byte, error) {
	if err := r.git.Outside(name); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a regular file", name), err)
	}
	return io.ReadAll(io.LimitReader(f, limit+1))
}
