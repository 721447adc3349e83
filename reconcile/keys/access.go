package keys

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Access is how an operator gets at the private halves of keys: settings of a run, never of the repo. Only keys/ says
// which keys there are; only these say which files are read and which programs run for them.
type Access struct {
	dir      string
	pass     prompted
	plugins  []string // NAME=PATH
	settings func() string
}

// Flags adds the flags to a command.
func (a *Access) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.dir, "key-dir", DefaultDir(), "folder of the private halves of keys")
	a.pass.flags(f, "passphrase", "the passphrase of every key that the environment has none for")
	a.pluginFlag(cmd)
}

func (a *Access) pluginFlag(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&a.plugins, "kms-plugin", nil, "program that signs for keys at NAME://…, as NAME=/absolute/path of a sigstore-kms plugin; can be repeated")
	a.settings = func() string {
		if f := cmd.Flag("config"); f != nil { // set by main to the file that was read
			return f.Value.String()
		}
		return ""
	}
}

// Open makes a keyring of f's keys; repo is the folder of the fleet repo. Nothing is decrypted yet; see Unlock.
func (a *Access) Open(ctx context.Context, f *fleet.Fleet, repo string) (*Keyring, error) {
	k := Open(f, a.dir, passphrases(ctx, &a.pass))
	var err error
	k.plugins, err = a.programs(repo)
	return k, err
}

// programs are the plugins by name. Neither they nor the settings that name them may lie in the repo: whoever gets a change
// merged would choose what runs beside the keys.
func (a *Access) programs(repo string) (map[string]string, error) {
	plugins := map[string]string{}
	for _, p := range a.plugins {
		name, path, ok := strings.Cut(p, "=")
		if !ok || schema.CheckName(name) != nil || !filepath.IsAbs(path) {
			return nil, fault.Hint(fmt.Errorf("--kms-plugin %.120q is not NAME=/absolute/path", p),
				"NAME is the scheme of the keys' URIs; a program is never looked for")
		}
		if isCloud(name) {
			return nil, fmt.Errorf("--kms-plugin %s: keys at %s:// need no plugin", name, name)
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			return nil, fault.Hint(fmt.Errorf("--kms-plugin %s: %s is not a program", name, path), "give the path of an executable file")
		}
		plugins[name] = path
	}
	r, err := source.Open(repo)
	if len(plugins) == 0 || err != nil {
		return plugins, nil // not a git repo: no commit can change it
	}
	files := []string{}
	for _, path := range plugins {
		files = append(files, path)
	}
	if s := a.settings(); s != "" {
		files = append(files, s)
	}
	for _, file := range files {
		if err := r.Outside(file); err != nil {
			return nil, fmt.Errorf("--kms-plugin: %w", err)
		}
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
