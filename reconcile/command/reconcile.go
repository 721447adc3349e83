package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/plan"
	"bakehouse/schema/cli"
)

// reconcileCommand is `bakehouse reconcile`; version is this program's, and is in the signed target "release".
func reconcileCommand(version string) *cobra.Command {
	o := reconcile.Options{Version: version}
	var asJSON *bool
	var signing *flags.Keys
	cmd := &cobra.Command{
		Use: "reconcile",
		Annotations: map[string]string{
			cli.Instead + "refresh":       "bakehouse reconcile refresh",
			cli.Instead + "above":         "bakehouse reconcile recover --above N",
			cli.Instead + "after-restore": "bakehouse reconcile recover --above N",
			cli.Instead + "after-expiry":  "bakehouse reconcile recover --after-expiry",
			cli.Instead + "sign-only":     "bakehouse package sign",
			cli.Instead + "key":           "bakehouse package sign --key NAME",
		},
		Short: "Bake, sign and publish whatever a commit changed",
		Long: strings.TrimSpace(`
Reads the fleet from a commit, verifies what the store has published, bakes and signs the packages that are new, and
publishes TUF metadata. The numbered timestamp comes last and is the commit point: a run that dies before it has changed
nothing that hosts see, and the next run converges. A run without changes publishes nothing. If it finds that a run of
the last 24 hours did so for the same commit, program and store, it does not read the whole store again (--full does).

It refuses to remove more hosts than limits.removed in fleet.cue (default 50, and half), unless a commit message since
the published release accounts for them: "Bakehouse-Remove: hosts/web 120" names the folder and how many of its hosts
go.

With --allowed-signers or --keyring, nothing is published unless every commit from the last published one to the head is
signed by someone named there, over all parents of merges, and the head descends from the published commit. SSH: the
line must allow the namespace "git" and match the committer's address; the key must be valid at the commit's date. End a
retired key with valid-before, remove a stolen one. OpenPGP: the key must not be expired or revoked now. A merge commit,
as a forge's button makes it, needs no signature if its branch was up to date: its second parent descends from its first
and has the same files. The key files must be outside of the repository. A refusal exits with 3 and changes nothing.

What it builds upon it judges first, as "bakehouse monitor" does, unless it was published or judged here before: if that
does not follow from a commit which --ref descends from, it exits with 3 and changes nothing.

A store without a release is an error, so that neither a typo nor a disk that is not mounted starts a second store from
release 1. The first release of a fleet takes --init.

A machine remembers the newest timestamp that it published or verified, in --cache-dir. A store that was set back, as by
a restore from a backup, is refused: "bakehouse reconcile recover" publishes into it.

Any run renews the roles that are past half of their lifetime if it holds their keys, and warns of the others.

Passphrases come from BAKEHOUSE_PASSPHRASE_KEY (the key's name in capitals, "_" for "-" and "."), a file, a descriptor,
or a prompt; "bakehouse key --help" describes them, and keys in a KMS or HSM.`),
		Example: `  bakehouse reconcile --store /srv/bakehouse --init
  bakehouse reconcile --store /srv/bakehouse
  bakehouse reconcile --store /srv/bakehouse --allowed-signers /etc/bakehouse/allowed_signers
  bakehouse plan --against /srv/bakehouse --out plan.json && bakehouse reconcile --store /srv/bakehouse --plan plan.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.Complete(&o, signing); err != nil {
				return err
			}
			return pass(cmd, o, *asJSON)
		},
	}
	signing = flags.Pass(cmd, &o)
	flags.Programs(cmd, &o.Programs)
	flags.Jobs(cmd, &o.Jobs)
	cmd.Flags().StringVar(&o.Plan, "plan", "",
		"file of a plan that \"plan --out\" wrote: do exactly that, or refuse if commit, store or program changed")
	flags.Init(cmd, &o)
	cmd.Flags().BoolVar(&o.Full, "full", false, "do the whole run, even if one within 24 hours found nothing to publish")
	asJSON = flags.AddJSON(cmd)
	cmd.AddCommand(reconcileRefreshCommand(), reconcileRecoverCommand(version))
	return cmd
}

func pass(cmd *cobra.Command, o reconcile.Options, asJSON bool) error {
	out, err := reconcile.Run(cmd.Context(), o, cmd.ErrOrStderr())
	switch {
	case err != nil:
		return err
	case asJSON:
		return console.WriteJSON(cmd.OutOrStdout(), out)
	}
	return printOutcome(cmd.OutOrStdout(), out)
}

// printOutcome prints what a pass did, for people.
func printOutcome(w io.Writer, o *reconcile.Outcome) error {
	var b strings.Builder
	if o.Verified != nil {
		fmt.Fprintln(&b, o.Verified.Summary())
	}
	for _, p := range o.Packages {
		fmt.Fprintf(&b, "baked %s  %s %s  %s for %s: %s new in the store, %s reused\n",
			p.SHA256.Short(), p.Platform, p.Format, console.Size(p.Size), console.Hosts(p.Hosts),
			console.Size(p.Stored), console.Count(p.Reused, "segment"))
	}
	if len(o.Packages) > 0 {
		fmt.Fprintf(&b, "signed by %s\n", strings.Join(o.SignedBy, ", "))
	}
	tally := map[plan.Kind]int{}
	for _, c := range o.Changes {
		tally[c.Kind]++
	}
	switch {
	case o.Checked != nil:
		fmt.Fprintf(&b, "nothing to publish: release %d of %s is current for commit %.12s, as a whole pass found at %s\n",
			o.Release, console.Count(o.Hosts, "host"), o.Commit, o.Checked.Local().Format("2006-01-02 15:04:05"))
	case !o.Published:
		fmt.Fprintf(&b, "nothing to publish: release %d of %s is current for commit %.12s\n",
			o.Release, console.Count(o.Hosts, "host"), o.Commit)
	default:
		fmt.Fprintf(&b, "published release %d (timestamp %d) of commit %.12s: %s, "+
			"%d added, %d with a new package, %d with other attributes, %d removed\n",
			o.Release, o.Timestamp, o.Commit, console.Count(o.Hosts, "host"),
			tally[plan.Added], tally[plan.Repackage], tally[plan.Attribute], tally[plan.Removed])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
