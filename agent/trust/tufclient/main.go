// Command tufclient runs the verifier of updates on any TUF repository, by the command line that the TUF conformance
// suite (theupdateframework/tuf-conformance) gives the clients it tests. It is built for that alone, so that nothing of
// it is on a host.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"bakehouse/agent/trust"

	"github.com/spf13/cobra"
)

// tufFlags are those of the TUF conformance suite's command line, and a clock.
type tufFlags struct {
	metadataDir, metadataURL, targetDir, targetURL string
	targets                                        []string
	time                                           int64
}

func main() { os.Exit(run(context.Background(), os.Args[1:])) }

// run knows no exit code but 0 and 1: the suite counts every other as a crash.
func run(ctx context.Context, args []string) int {
	c := command()
	c.SetArgs(args)
	if err := c.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s: error: %v\n", c.Name(), err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	var o tufFlags
	c := &cobra.Command{
		Use:           "tufclient",
		Short:         "Act as a client of any TUF repository, for the TUF conformance suite",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(*cobra.Command, []string) error { return errors.New("want init, refresh or download") },
	}
	f := c.PersistentFlags()
	f.StringVar(&o.metadataDir, "metadata-dir", "", "`DIR` of the trusted metadata")
	f.StringVar(&o.metadataURL, "metadata-url", "", "`URL` of the repository's metadata")
	f.StringArrayVar(&o.targets, "target-name", nil, "`PATH` of a target to download; repeatable")
	f.StringVar(&o.targetURL, "target-base-url", "", "`URL` of the repository's targets")
	f.StringVar(&o.targetDir, "target-dir", "", "`DIR` for downloaded targets")
	f.Int64Var(&o.time, "time", 0, "take `SECONDS` since 1970 for the time (default: the clock, or FAKETIME)")
	verb := func(use, short string, args cobra.PositionalArgs, need []string,
		run func(c *cobra.Command, now func() time.Time, args []string) error) {
		c.AddCommand(&cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command,
			args []string) error {
			for _, name := range need {
				if c.Flag(name).Value.String() == "" || !c.Flag(name).Changed {
					return fmt.Errorf("%s: --%s is required", c.Name(), name)
				}
			}
			now, err := o.clock(c.Flag("time").Changed)
			if err == nil {
				err = run(c, now, args)
			}
			return err
		}})
	}
	verb("init ROOT", "Trust a root", cobra.ExactArgs(1), []string{"metadata-dir"},
		func(c *cobra.Command, now func() time.Time, args []string) error {
			root, err := os.ReadFile(args[0])
			if err == nil {
				_, err = trust.OpenRepository(o.metadataDir, root, now)
			}
			return err
		})
	verb("refresh", "Verify the newest metadata", cobra.NoArgs, []string{"metadata-dir", "metadata-url"},
		func(c *cobra.Command, now func() time.Time, _ []string) error {
			_, err := o.refreshed(c.Context(), now)
			return err
		})
	verb("download", "Verify and download targets", cobra.NoArgs,
		[]string{"metadata-dir", "metadata-url", "target-name", "target-base-url", "target-dir"},
		func(c *cobra.Command, now func() time.Time, _ []string) error {
			r, err := o.refreshed(c.Context(), now)
			if err != nil {
				return err
			}
			for _, target := range o.targets {
				file, _, err := r.Download(c.Context(), o.source(), target, o.targetDir)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintln(c.OutOrStdout(), file); err != nil {
					return err
				}
			}
			return nil
		})
	return c
}

func (o *tufFlags) refreshed(ctx context.Context, now func() time.Time) (*trust.Repository, error) {
	r, err := trust.OpenRepository(o.metadataDir, nil, now)
	if err != nil {
		return nil, err
	}
	return r, r.Refresh(ctx, o.source())
}

// clock is the time of the flag, or of the environment: faketime, which the suite starts clients under, cannot change
// what a Go program reads from the kernel, but it passes the difference.
func (o *tufFlags) clock(given bool) (func() time.Time, error) {
	at := time.Unix(o.time, 0)
	if s := os.Getenv("FAKETIME"); s != "" && !given {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("FAKETIME %q: not a number of seconds", s)
		}
		at, given = time.Now().Add(time.Duration(n)*time.Second), true
	}
	if !given {
		return time.Now, nil
	}
	return func() time.Time { return at }, nil
}

func (o *tufFlags) source() httpRepository { return httpRepository{o.metadataURL, o.targetURL} }

// httpRepository is a TUF repository behind a web server.
type httpRepository struct{ metadata, targets string }

func (h httpRepository) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := get(ctx, h.metadata, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return b, err
}

func (h httpRepository) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	return get(ctx, h.targets, (&url.URL{Path: path}).EscapedPath())
}

// get opens what is below base, at a path that is fit for a URL.
func get(ctx context.Context, base, path string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if a.StatusCode == http.StatusOK {
		return a.Body, nil
	}
	a.Body.Close()
	if a.StatusCode == http.StatusNotFound || a.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%s: %s: %w", r.URL, a.Status, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s: %s", r.URL, a.Status)
}
