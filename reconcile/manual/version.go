package manual

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"bakehouse/reconcile/console"

	"github.com/spf13/cobra"
)

// A programBuild is what this program was made of, as `version --json` prints it.
type programBuild struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`   // of Bakehouse; none if it was not built in its repository
	Modified bool   `json:"modified,omitempty"` // the work tree differed from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"` // os/arch
}

func thisBuild(version string) programBuild {
	b := programBuild{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

func (b programBuild) String() string {
	commit := ""
	if b.Commit != "" {
		commit = fmt.Sprintf(" commit %.12s", b.Commit)
		if b.Modified {
			commit += " and changes"
		}
	}
	return fmt.Sprintf("bakehouse %s%s %s %s", b.Version, commit, b.Go, b.Platform)
}

// Version is `bakehouse version`.
func Version(version string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		// A mistake in the settings is no obstacle.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), thisBuild(version))
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), thisBuild(version))
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
