package keys

import (
	"fmt"
	"strings"

	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Export is the file of a private half, once it is known to be encrypted.
func (k *Keyring) Export(name string) ([]byte, error) {
	key, err := k.Key(name)
	if err != nil {
		return nil, err
	}
	if strings.Contains(key.Private, "://") {
		return nil, fault.Hint(
			fmt.Errorf("key %s is in a key service (%s), which it does not leave", name, key.Private),
			"give the other machine access to the service")
	}
	path, err := k.path(key)
	if err != nil {
		return nil, err
	}
	b, err := readPrivate(path)
	if err == nil {
		err = checkEncrypted(b)
	}
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("key %s (%s): %w", name, path, err),
			hintKeyDir)
	}
	return b, nil
}

// ChangePassphrase encrypts the key's private half again, with a passphrase that fresh returns. The file with the old
// one stays whole until the new one is on the disk. It returns the file's path.
func (k *Keyring) ChangePassphrase(name string, fresh func() ([]byte, error)) (string, error) {
	return k.changePassphrase(durable.Disk{}, name, fresh)
}

func (k *Keyring) changePassphrase(disk durable.Disk, name string, fresh func() ([]byte, error)) (string, error) {
	key, err := k.Key(name)
	if err != nil {
		return "", err
	}
	if strings.Contains(key.Private, "://") {
		return "", fmt.Errorf("key %s is in a key service (%s) and has no passphrase here", name, key.Private)
	}
	priv, err := k.private(key)
	if err != nil {
		return "", fault.Hint(err, "%s", orHint(err, hintKeyDir))
	}
	signers, err := LoadSigners(priv)
	if err != nil {
		return "", err
	}
	if err := samePublic(signers.Metadata, key); err != nil {
		return "", err
	}
	pass, err := fresh()
	if err != nil {
		return "", err
	}
	b, err := encrypt(priv, pass)
	if err != nil {
		return "", err
	}
	path, err := k.path(key)
	if err != nil {
		return "", err
	}
	return path, disk.WriteFile(path, b, 0o600)
}
