// Package flags has what several verbs share: flags, and what they open.
package flags

import (
	"io"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/settings"
	"bakehouse/reconcile/source"
	"bakehouse/serve/store/stores"
)

// State say which state of the fleet repository to look at.
type State struct {
	desired.Where
	CacheDir string
}

// Add adds the flags to a command.
func (f *State) Add(cmd *cobra.Command) {
	Repo(cmd, &f.Where)
	Cache(cmd, &f.CacheDir)
	cmd.Flags().BoolVar(&f.Worktree, "worktree", false, "read the files in the directory, committed or not")
	cmd.MarkFlagsMutuallyExclusive("ref", "worktree")
}

// Pin opens the state. Files that the commit does not have are named on log.
func (f *State) Pin(log io.Writer) (*desired.State, error) {
	before, err := desired.OpenCache(f.Repo, f.CacheDir, log)
	if err != nil {
		return nil, err
	}
	s, err := desired.Pin(f.Where, before)
	if err != nil {
		return nil, err
	}
	s.NoteDirty(log)
	return s, nil
}

// Repo adds --repo and --ref.
func Repo(cmd *cobra.Command, w *desired.Where) {
	cmd.Flags().StringVar(&w.Repo, "repo", ".", "the fleet repository")
	cmd.Flags().StringVar(&w.Ref, "ref", "HEAD", "the branch, tag or commit to read")
	settings.Trust(cmd.Flags(), "repo")
}

// Cache adds --cache-dir.
func Cache(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "cache-dir", desired.DefaultCacheDir(),
		"directory that keeps what was evaluated before, for this user alone: it decides what is signed. Empty: none")
	settings.Trust(cmd.Flags(), "cache-dir")
}

// Store adds --store.
func Store(cmd *cobra.Command, location *string) {
	cmd.Flags().StringVar(location, "store", "store", "`LOCATION` of packages and metadata: "+stores.Form)
	settings.Trust(cmd.Flags(), "store")
}

// Jobs adds --jobs.
func Jobs(cmd *cobra.Command, jobs *int) {
	cmd.Flags().IntVar(jobs, "jobs", 0, "how many packages to bake at a time (default one per processor)")
	settings.Setting(cmd.Flags(), "jobs")
}

// Programs adds --programs and --source, and lets p report on standard error what takes long.
func Programs(cmd *cobra.Command, p *program.Places) {
	p.Progress = program.Lines(cmd.ErrOrStderr)
	cmd.Flags().StringVar(&p.Dir, "programs", "",
		`directory of host programs, bakehouse-agent-OS-ARCH (default "programs" beside this executable)`)
	cmd.Flags().StringVar(&p.Source, "source", "",
		"source checkout of Bakehouse to build host programs from (default the one around the working directory)")
	settings.Trust(cmd.Flags(), "programs", "source")
}

// Commits add the demand that commits be signed.
func Commits(cmd *cobra.Command, c *source.CommitCheck) {
	f := cmd.Flags()
	f.StringVar(&c.Start, "verify-commits", "",
		"publish nothing unless every commit since the last published one is signed by someone who may sign; "+
			"if nothing is published yet, begin with the head itself, with \"all\" its history or after a COMMIT "+
			"(40 hex digits)")
	f.Lookup("verify-commits").NoOptDefVal = source.StartHead
	f.StringVar(&c.Allowed, "allowed-signers", "",
		"verify commits: file of the SSH keys that may sign, as for ssh-keygen; not a file of the repository")
	f.StringVar(&c.Keyring, "keyring", "",
		"verify commits: file of the OpenPGP keys that may sign, as gpg exports them; not a file of the repository")
	settings.Trust(f, "verify-commits", "allowed-signers", "keyring")
}

// Pass add what every command sets that publishes or signs.
func Pass(cmd *cobra.Command, o *reconcile.Options) *Keys {
	Repo(cmd, &o.Where)
	Store(cmd, &o.Store)
	Commits(cmd, &o.Commits)
	Cache(cmd, &o.CacheDir)
	return AddKeys(cmd)
}

// Init adds --init.
func Init(cmd *cobra.Command, o *reconcile.Options) {
	cmd.Flags().BoolVar(&o.Init, "init", false,
		"publish the first release into a store that has none, and create the store if there is none")
}

// Complete fills in what follows from other flags.
func Complete(o *reconcile.Options, k *Keys) (err error) {
	o.Keys, err = k.Access(o.Repo)
	return err
}
