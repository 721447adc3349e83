// Package demo shows the whole of Bakehouse on one machine in about a minute: it makes a fleet repository in a
// temporary folder, bakes, signs and serves it on loopback over TLS, lets three sandboxed hosts install and update
// themselves, and then attacks them. It does so by running, as child processes, the very commands that it prints, so
// what it shows is what a user would see. It exits 0 only if every step held.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// Command is `bakehouse demo`.
func Command() *cobra.Command {
	var keep bool
	var source string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on this machine: a fleet baked, served, updated and attacked",
		Long: `Makes a fleet repository in a temporary directory, creates keys, reconciles, serves on loopback over TLS, registers
three hosts in sandbox directories, installs and updates them, and then shows four refusals. Nothing outside the
temporary directory and Go's caches is touched, and no service is installed. It needs git, and Go unless the host
programs are in the directory "programs" beside the executable. Interrupt it at any moment: it cleans up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), cmd, keep, source)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the server up at the end, print its URL, and wait for an interrupt")
	cmd.Flags().StringVar(&source, "source", ".",
		"source checkout to build the host program from, if it is not beside the executable")
	return cmd
}

func run(ctx context.Context, cmd *cobra.Command, keep bool, source string) (err error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "bakehouse-demo-")
	if err != nil {
		return err
	}
	source, err = filepath.Abs(source)
	if err != nil {
		return err
	}
	s := &stage{out: cmd.OutOrStdout(), dir: dir, source: source, env: map[string]string{}}
	waiting := false
	defer func() {
		err = errors.Join(err, s.stopAll(), os.RemoveAll(dir))
		if ctx.Err() != nil && !waiting {
			err = fault.Hint(errors.New("the demo was interrupted; its folder is removed"), "run it again: bakehouse demo")
		}
	}()
	s.say("The three hosts of a small fleet are set up, updated and attacked, on 127.0.0.1 and in\n   %s\nThe commands "+
		"are real.", dir)
	if err := s.play(ctx); err != nil {
		return err
	}
	s.say("\nEvery step held, in %s.", time.Since(began).Round(100*time.Millisecond))
	if !keep {
		return nil
	}
	s.say("The server stays up at %s; in the folder above, tls/ca.pem is its CA and hosts/ has the hosts.", s.url)
	s.say("Press Ctrl-C to stop it and to remove the folder.")
	waiting = true // from here on an interrupt is how the demo ends well
	<-ctx.Done()
	return nil
}

// play is the demo's plot.
func (s *stage) play(ctx context.Context) error {
	for _, act := range []struct {
		title string
		about string
		do    func(context.Context) error
	}{
		{"A fleet repository, and keys that only you hold",
			"A fleet is a git repository of CUE files: hosts, rules, plugins, the public halves of keys. The private halves " +
				"stay outside of it, encrypted. " +
				"The root key says which other keys count, and is kept offline afterwards; online signs which host gets what; " +
				"release signs packages.",
			s.repository},
		{"Bake and sign",
			"A commit becomes signed packages in a store. Alike hosts share a package; packages share what they have in common.",
			s.firstRelease},
		{"Serve over TLS, register three hosts, install",
			"Each host is a folder here (--root). It registers once, with a user's password, for a secret of its own; then " +
				"it verifies and installs.",
			s.hosts},
		{"One rule changes",
			"A commit and a reconcile; the hosts update themselves. The new package is made of stored parts, so hardly " +
				"anything is stored or fetched.",
			s.change},
		{"An attacker alters a package in the store", "Somebody can write to the server's disk.", s.altered},
		{"An attacker replays an older release", "Somebody answers in the server's place, with what was truly signed once.",
			s.replayed},
		{"An attacker swaps the signature key",
			"Somebody gets a commit merged that replaces the key release by another one.", s.unknownKey},
		{"Where the hosts stand", "Each host runs what the fleet wants for it; the last column but one is what its last " +
			"installation fetched.", s.table},
	} {
		s.act++
		s.say("\n%d. %s", s.act, act.title)
		s.note("%s", act.about)
		if err := act.do(ctx); err != nil {
			return fmt.Errorf("step %d (%s): %w", s.act, act.title, err)
		}
	}
	return nil
}
