package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"bakehouse/reconcile/command"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/publish"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// options are the operator's settings for a pass.
type options struct {
	desired.Where
	location string
	programs program.Places
	version  string
	keys     keys.Access
	plan     string // file of a saved plan; empty: none
	jobs     int    // packages to bake at a time; 0: one per processor
	commits  commitCheck
	full     bool
	recovery publish.Recovery
	cacheDir string
}

// Command is `bakehouse reconcile`; version is this program's, and stands in the signed target "release".
func Command(version string) *cobra.Command {
	o := options{version: version}
	var asJSON, refresh, restored bool
	var only signOnly
	var signing *command.KeyFlags
	cmd := &cobra.Command{
		Use:   "reconcile",
		Short: "Bake, sign and publish whatever a commit changed",
		Long: `Reads the fleet from a commit, verifies what the store has published, bakes the packages that are new, signs them, and
publishes TUF metadata. The numbered timestamp comes last and is the commit point: a run that dies before it has changed
nothing that hosts see, and the next run converges. Running it again without changes publishes nothing; for a day, while commit, program
and the store's head are the same and nothing is due for renewal, it says so without reading the whole store (--full).

It refuses to remove more hosts than limits.removed in fleet.cue (default 50), unless a commit message since the published
release accounts for them: "Bakehouse-Remove: hosts/web 120" names the folder and how many of its hosts go.

With --allowed-signers or --keyring, nothing is published unless every commit from the last published one to the head is
signed by someone named there, over all parents of merges, and the head descends from the published commit. SSH: the line
must allow the namespace "git" and match the committer's address; the key must be valid at the commit's date. End a
retired key with valid-before, remove a stolen one. OpenPGP: the key must not be expired or revoked now. The files, and a
bakehouse.yaml that names them, may not lie in the repository. A refusal exits with 3 and changes nothing.

Roles past half of their lifetime are renewed by any run that holds their keys, the bins spread over some weeks; what is not
renewed is warned of. --refresh is for a daily schedule that holds the keys for timestamp and snapshot only: it renews the
timestamp, and the snapshot when it is due, and evaluates, bakes and changes nothing.

A store that was restored from a backup publishes versions that hosts have seen already, so they take nothing of it:
--after-restore publishes everything above the highest timestamp version that a host has seen, --above ("bakehouse serve seen"
prints it). If nobody ran reconcile until targets or bins expired, --after-expiry signs everything anew from the commit, and
takes nothing over from the store but numbers.

Passphrases come from BAKEHOUSE_PASSPHRASE_KEY (the key's name in capitals, "_" for "-" and "."), a file, a descriptor, or a
prompt; "bakehouse key --help" says more, also of keys in a KMS or HSM.`,
		Example: `  bakehouse reconcile --store /srv/bakehouse/store
  bakehouse reconcile --store /srv/bakehouse/store --allowed-signers /etc/bakehouse/allowed_signers
  bakehouse plan --against /srv/bakehouse/store --out plan.json && bakehouse reconcile --store /srv/bakehouse/store --plan plan.json
  bakehouse reconcile --store /srv/bakehouse/store --refresh
  bakehouse reconcile --store /srv/bakehouse/store --sign-only --key release-2
  bakehouse reconcile --store /srv/bakehouse/store --after-restore --above "$(bakehouse serve seen)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := only.check(); err != nil {
				return err
			}
			var err error
			if o.keys, err = signing.Access(o.Repo); err != nil {
				return err
			}
			if only.on {
				return only.run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr(), asJSON)
			}
			if restored != (o.recovery.Seen > 0) {
				return fault.Hint(errors.New("--after-restore and --above N go together"),
					"N is the highest timestamp version that a host has seen: bakehouse serve seen --database FILE; if that is lost too, `bakehouse-agent status` on the hosts, or a number that is surely higher")
			}
			var out interface{ tell(io.Writer) error }
			if refresh {
				out, err = Refresh(cmd.Context(), o, cmd.ErrOrStderr())
			} else {
				out, err = Reconcile(cmd.Context(), o, cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			if asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), out)
			}
			return out.tell(cmd.OutOrStdout())
		},
	}
	repoFlags(cmd, &o.Where)
	storeFlag(cmd, &o.location)
	o.programs.Flags(cmd)
	o.commits.flags(cmd)
	cacheFlag(cmd, &o.cacheDir)
	signing = command.AddKeyFlags(cmd)
	only.flags(cmd)
	cmd.Flags().StringVar(&o.plan, "plan", "", "file of a plan that `plan --out` wrote: do exactly that, or refuse if commit, store or program moved on")
	cmd.Flags().BoolVar(&o.full, "full", false, "do the whole pass, even if one within the last day found nothing to publish")
	cmd.Flags().BoolVar(&refresh, "refresh", false, "only renew timestamp and snapshot, with no other keys")
	cmd.Flags().BoolVar(&restored, "after-restore", false, "the store was restored from a backup: publish everything above --above")
	cmd.Flags().Int64Var(&o.recovery.Seen, "above", 0, "with --after-restore: the highest timestamp version that a host has seen")
	cmd.Flags().BoolVar(&o.recovery.Expired, "after-expiry", false, "targets or bins have expired: sign everything anew from the commit")
	for _, other := range []string{"plan", "full", "after-restore", "after-expiry"} {
		cmd.MarkFlagsMutuallyExclusive("refresh", other)
	}
	for _, other := range []string{"plan", "refresh", "after-restore", "after-expiry"} {
		cmd.MarkFlagsMutuallyExclusive("sign-only", other)
	}
	jobsFlag(cmd, &o.jobs)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the outcome, or the error, as one JSON object")
	return cmd
}

// Reconcile runs one pass; log gets a line on anything worth knowing.
func Reconcile(ctx context.Context, o options, log io.Writer) (*Outcome, error) {
	var err error
	if o.jobs, err = jobCount(o.jobs); err != nil {
		return nil, err
	}
	p, err := o.open(log)
	if err != nil {
		return nil, err
	}
	if o.plan != "" {
		if p.bound, err = readPlan(o.plan, p.head.Revision, o.version); err != nil {
			return nil, err
		}
	}
	return p.unlessIdle(ctx, log)
}

// open pins the commit, and checks its signature if that is asked for.
func (o options) open(log io.Writer) (*pass, error) {
	head, err := desired.Pin(o.Where, desired.OpenCache(o.cacheDir, log))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	gate, err := o.commits.open(head, now, log)
	if err != nil {
		return nil, err
	}
	return &pass{options: o, head: head, now: now, gate: gate, log: log}, head.NoteDirty(log)
}

// tell prints the outcome for people.
func (o *Outcome) tell(w io.Writer) error {
	var b strings.Builder
	if o.Verified != nil {
		fmt.Fprintln(&b, o.Verified.tell())
	}
	for _, p := range o.Packages {
		fmt.Fprintf(&b, "baked %s  %s %s  %s for %s: %s new in the store, %s reused\n", p.SHA256.Short(), p.Platform, p.Format,
			console.Size(p.Size), console.Hosts(p.Hosts), console.Size(p.Stored), console.Count(p.Reused, "segment"))
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
		fmt.Fprintf(&b, "nothing to publish: release %d of %s is current for commit %.12s\n", o.Release, console.Count(o.Hosts, "host"), o.Commit)
	default:
		fmt.Fprintf(&b, "published release %d (timestamp %d) of commit %.12s: %s, %d added, %d with a new package, %d with other attributes, %d removed\n",
			o.Release, o.Timestamp, o.Commit, console.Count(o.Hosts, "host"), tally[plan.Added], tally[plan.Repackage], tally[plan.Attribute], tally[plan.Removed])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
