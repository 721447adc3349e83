package command

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

// stateFlags say which state of the fleet repository to look at.
type stateFlags struct {
	desired.Where
	cacheDir string
}

func (f *stateFlags) add(cmd *cobra.Command) {
	repoFlags(cmd, &f.Where)
	cacheFlag(cmd, &f.cacheDir)
	cmd.Flags().BoolVar(&f.Worktree, "worktree", false, "read the files in the directory, committed or not")
	cmd.MarkFlagsMutuallyExclusive("ref", "worktree")
}

// pin opens the state. Files that the commit does not have are named on log.
func (f *stateFlags) pin(log io.Writer) (*desired.State, error) {
	before, err := desired.OpenCache(f.Repo, f.cacheDir, log)
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

func repoFlags(cmd *cobra.Command, w *desired.Where) {
	cmd.Flags().StringVar(&w.Repo, "repo", ".", "the fleet repository")
	cmd.Flags().StringVar(&w.Ref, "ref", "HEAD", "the branch, tag or commit to read")
	settings.Trust(cmd.Flags(), "repo")
}

// cacheFlag adds --cache-dir.
func cacheFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "cache-dir", desired.DefaultCacheDir(),
		"directory that keeps what was evaluated before, for this user alone: it decides what is signed. Empty: none")
	settings.Trust(cmd.Flags(), "cache-dir")
}

func storeFlag(cmd *cobra.Command, location *string) {
	cmd.Flags().StringVar(location, "store", "store", "`LOCATION` of packages and metadata: "+stores.Form)
	settings.Trust(cmd.Flags(), "store")
}

// jobsFlag adds --jobs.
func jobsFlag(cmd *cobra.Command, jobs *int) {
	cmd.Flags().IntVar(jobs, "jobs", 0, "how many packages to bake at a time (default one per processor)")
	settings.Setting(cmd.Flags(), "jobs")
}

// programFlags adds --programs and --source, and lets p report on standard error what takes long.
func programFlags(cmd *cobra.Command, p *program.Places) {
	p.Progress = program.Lines(cmd.ErrOrStderr)
	cmd.Flags().StringVar(&p.Dir, "programs", "",
		`directory of host programs, bakehouse-agent-OS-ARCH (default "programs" beside this executable)`)
	cmd.Flags().StringVar(&p.Source, "source", "",
		"source checkout of Bakehouse to build host programs from (default the one around the working directory)")
	settings.Trust(cmd.Flags(), "programs", "source")
}

// commitFlags add the demand that commits be signed.
func commitFlags(cmd *cobra.Command, c *source.CommitCheck) {
	f := cmd.Flags()
	f.StringVar(&c.Start, "verify-commits", "",
		"publish nothing unless every commit since the last published one is signed by someone who may sign; "+
			"if nothing is published yet, begin with the head itself, with \"all\" its history or after a COMMIT (40 hex "+
			"digits)")
	f.Lookup("verify-commits").NoOptDefVal = source.StartHead
	f.StringVar(&c.Allowed, "allowed-signers", "",
		"verify commits: file of the SSH keys that may sign, as for ssh-keygen; not a file of the repository")
	f.StringVar(&c.Keyring, "keyring", "",
		"verify commits: file of the OpenPGP keys that may sign, as gpg exports them; not a file of the repository")
	settings.Trust(f, "verify-commits", "allowed-signers", "keyring")
}

// passFlags add what every command sets that publishes or signs.
func passFlags(cmd *cobra.Command, o *reconcile.Options) *KeyFlags {
	repoFlags(cmd, &o.Where)
	storeFlag(cmd, &o.Store)
	commitFlags(cmd, &o.Commits)
	cacheFlag(cmd, &o.CacheDir)
	return AddKeyFlags(cmd)
}

// initFlag adds --init.
func initFlag(cmd *cobra.Command, o *reconcile.Options) {
	cmd.Flags().BoolVar(&o.Init, "init", false,
		"publish the first release into a store that has none, and create the store if there is none")
}

// complete fills in what follows from other flags.
func complete(o *reconcile.Options, k *KeyFlags) (err error) {
	o.Keys, err = k.Access(o.Repo)
	return err
}
