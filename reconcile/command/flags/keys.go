package flags

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/settings"
	"bakehouse/reconcile/source/gitdir"
)

// Keys are the flags of a command that signs.
type Keys struct {
	Dir        string   // of private halves
	plugins    []string // NAME=PATH
	passphrase *keys.PassphraseSource
	Cmd        *cobra.Command
}

// AddKeys adds them to a command.
func AddKeys(cmd *cobra.Command) *Keys {
	k := &Keys{Cmd: cmd}
	k.AddDir()
	k.passphrase = AddPassphrase(cmd, "passphrase", "the passphrase of every key that the environment has none for")
	k.AddPlugins()
	return k
}

// AddDir adds --key-dir alone.
func (k *Keys) AddDir() {
	k.Cmd.Flags().StringVar(&k.Dir, "key-dir", keys.DefaultDir(), "directory of the private halves of keys")
	settings.Trust(k.Cmd.Flags(), "key-dir")
}

// AddPlugins adds --kms-plugin alone.
func (k *Keys) AddPlugins() {
	k.Cmd.Flags().StringSliceVar(&k.plugins, "kms-plugin", nil,
		"program that signs for keys at NAME://…, as NAME=/absolute/path of a sigstore-kms plugin; can be repeated")
	settings.Trust(k.Cmd.Flags(), "kms-plugin")
}

// Access is what the flags say, for keys of the fleet repo in the directory repo. No plugin may be in the repo:
// whoever gets a change merged would choose what runs beside the keys.
func (k *Keys) Access(repo string) (keys.Access, error) {
	plugins, err := keys.ParsePlugins(k.plugins)
	for _, file := range slices.Sorted(maps.Values(plugins)) {
		if err := gitdir.Outside(repo, file); err != nil {
			return keys.Access{}, fmt.Errorf("--kms-plugin: %w", err)
		}
	}
	return keys.Access{Dir: k.Dir, Passphrase: k.passphrase, Plugins: plugins}, err
}

// AddPassphrase adds --NAME-file and --NAME-fd, whose first line is a passphrase; whose says which one, for the
// help.
func AddPassphrase(cmd *cobra.Command, name, whose string) *keys.PassphraseSource {
	p := &keys.PassphraseSource{Flag: name}
	cmd.Flags().StringVar(&p.File, name+"-file", "", "file whose first line is "+whose)
	cmd.Flags().StringVar(&p.FD, name+"-fd", "", "number of an open file descriptor whose first line is "+whose)
	if name == "passphrase" { // the others are of one key or file, at one time
		settings.Trust(cmd.Flags(), name+"-file")
	}
	return p
}
