package command

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/source"
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
	k.cmd.Flags().StringVar(&k.dir, "key-dir", keys.DefaultDir(), "folder of the private halves of keys")
}

func (k *KeyFlags) addPlugins() {
	k.cmd.Flags().StringSliceVar(&k.plugins, "kms-plugin", nil,
		"program that signs for keys at NAME://…, as NAME=/absolute/path of a sigstore-kms plugin; can be repeated")
}

// Access is what the flags say, for keys of the fleet repo in the folder repo. Neither plugins nor the settings that name
// them may lie in the repo: whoever gets a change merged would choose what runs beside the keys.
func (k *KeyFlags) Access(repo string) (keys.Access, error) {
	access := keys.Access{Dir: k.dir, Passphrase: k.passphrase}
	var err error
	if access.Plugins, err = keys.ParsePlugins(k.plugins); err != nil || len(access.Plugins) == 0 {
		return access, err
	}
	r, err := source.Open(repo)
	if err != nil {
		return access, nil // not a git repo: no commit can change it
	}
	files := slices.Sorted(maps.Values(access.Plugins))
	if f := k.cmd.Flag("config"); f != nil && f.Value.String() != "" { // set by main to the file that was read
		files = append(files, f.Value.String())
	}
	for _, file := range files {
		if err := r.Outside(file); err != nil {
			return access, fmt.Errorf("--kms-plugin: %w", err)
		}
	}
	return access, nil
}

// AddPassphraseFlags adds --NAME-file and --NAME-fd, whose first line is a passphrase; whose says which one, for the help.
func AddPassphraseFlags(cmd *cobra.Command, name, whose string) *keys.PassphraseSource {
	p := &keys.PassphraseSource{Flag: name}
	cmd.Flags().StringVar(&p.File, name+"-file", "", "file whose first line is "+whose)
	cmd.Flags().StringVar(&p.FD, name+"-fd", "", "number of an open file descriptor whose first line is "+whose)
	return p
}
