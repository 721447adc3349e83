package command

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/settings"
	"bakehouse/reconcile/source/gitdir"
)

// KeyFlags are the flags of a command that signs.
type KeyFlags struct {
	dir        string
	plugins    []string // NAME=PATH
	passphrase *keys.PassphraseSource
	cmd        *cobra.Command
}

// AddKeyFlags adds them to a command.
func AddKeyFlags(cmd *cobra.Command) *KeyFlags {
	k := &KeyFlags{cmd: cmd}
	k.addDir()
	k.passphrase = AddPassphraseFlags(cmd, "passphrase", "the passphrase of every key that the environment has none for")
	k.addPlugins()
	return k
}

func (k *KeyFlags) addDir() {
	k.cmd.Flags().StringVar(&k.dir, "key-dir", keys.DefaultDir(), "directory of the private halves of keys")
	settings.Trust(k.cmd.Flags(), "key-dir")
}

func (k *KeyFlags) addPlugins() {
	k.cmd.Flags().StringSliceVar(&k.plugins, "kms-plugin", nil,
		"program that signs for keys at NAME://…, as NAME=/absolute/path of a sigstore-kms plugin; can be repeated")
	settings.Trust(k.cmd.Flags(), "kms-plugin")
}

// Access is what the flags say, for keys of the fleet repo in the directory repo. No plugin may be in the repo:
// whoever gets a change merged would choose what runs beside the keys.
func (k *KeyFlags) Access(repo string) (keys.Access, error) {
	plugins, err := keys.ParsePlugins(k.plugins)
	for _, file := range slices.Sorted(maps.Values(plugins)) {
		if err := gitdir.Outside(repo, file); err != nil {
			return keys.Access{}, fmt.Errorf("--kms-plugin: %w", err)
		}
	}
	return keys.Access{Dir: k.dir, Passphrase: k.passphrase, Plugins: plugins}, err
}

// AddPassphraseFlags adds --NAME-file and --NAME-fd, whose first line is a passphrase; whose says which one, for the
// help.
func AddPassphraseFlags(cmd *cobra.Command, name, whose string) *keys.PassphraseSource {
	p := &keys.PassphraseSource{Flag: name}
	cmd.Flags().StringVar(&p.File, name+"-file", "", "file whose first line is "+whose)
	cmd.Flags().StringVar(&p.FD, name+"-fd", "", "number of an open file descriptor whose first line is "+whose)
	if name == "passphrase" { // the others are of one key or file, at one time
		settings.Trust(cmd.Flags(), name+"-file")
	}
	return p
}
