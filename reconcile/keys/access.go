package keys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Access is how an operator gets at the private halves of keys: settings of a run, never of the repo. Only keys/ says
// which keys there are; only these say which files are read and which programs run for them.
type Access struct {
	Dir        string            // of the files of private halves
	Passphrase *PassphraseSource // of those that the environment has no passphrase for
	Plugins    map[string]string // programs that sign for keys at NAME://…, by NAME; see ParsePlugins
}

// Open makes a keyring of f's keys. Nothing is decrypted yet; see Unlock.
func (a *Access) Open(ctx context.Context, f *fleet.Fleet) *Keyring {
	k := Open(f, a.Dir, a.Passphrase.Passphrase(ctx))
	k.services = services(a.Plugins)
	return k
}

// ParsePlugins reads settings of the form NAME=/absolute/path.
func ParsePlugins(settings []string) (map[string]string, error) {
	plugins := map[string]string{}
	for _, s := range settings {
		name, path, ok := strings.Cut(s, "=")
		if !ok || schema.CheckName(name) != nil || !filepath.IsAbs(path) {
			return nil, fault.Hint(fmt.Errorf("--kms-plugin %.120q is not NAME=/absolute/path", s),
				"NAME is the scheme of the keys' URIs; a program is never looked for")
		}
		if isCloud(name) {
			return nil, fmt.Errorf("--kms-plugin %s: keys at %s:// need no plugin", name, name)
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return nil, fault.Hint(fmt.Errorf("--kms-plugin %s: %s is not a program", name, path),
				"give the path of an executable file")
		}
		plugins[name] = path
	}
	return plugins, nil
}

// DefaultDir is where private halves are kept unless --key-dir says otherwise.
func DefaultDir() string {
	d, err := os.UserConfigDir()
	if err != nil {
		return "keys"
	}
	return filepath.Join(d, "bakehouse", "keys")
}
