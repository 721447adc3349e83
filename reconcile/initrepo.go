package reconcile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"bakehouse/examples"
	"bakehouse/schema"
	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/spf13/cobra"
)

// InitCommand is `bakehouse init`.
func InitCommand() *cobra.Command {
	var example, url string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Start a fleet repository",
		Long: `Writes the files of a small fleet into DIR (default: the current folder), which must be empty or a git repository
without files, and makes it a git repository if it is none. It commits nothing: keys and the root of trust come first,
and what it prints next says how. CODEOWNERS lists what decides for the whole fleet or acts as root on its hosts, so that
a forge asks for approval; put your own team in the place of @OWNER.`,
		Example: `  bakehouse init fleet
  bakehouse init fleet --example quickstart --url https://bakehouse.example:8443`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if err := initRepo(dir, example, url); err != nil {
				return err
			}
			return nextSteps(cmd.OutOrStdout(), dir)
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "the server as hosts will see it, for fleet.cue (default: what the example has)")
	cmd.Flags().StringVar(&example, "example", "minimal", "what to start from: "+strings.Join(examples.Names(), ", "))
	return cmd
}

// urlLine is where an example's fleet.cue names the server.
var urlLine = regexp.MustCompile(`(?m)^url: .*$`)

// initRepo writes an example into dir. A folder that has anything but .git in it is refused before anything is written.
func initRepo(dir, example, url string) error {
	if url != "" {
		if err := schema.CheckServerURL(url); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	fsys, err := examples.FS(example)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("init: %w", err)
	}
	repo := false
	for _, e := range entries {
		if e.Name() != ".git" {
			return fault.Hint(fmt.Errorf("init: %s is not empty: it has %s", dir, e.Name()), "name another folder: bakehouse init DIR")
		}
		repo = true
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Hint(fmt.Errorf("init: %w", err), "name a folder that can be made and written: bakehouse init DIR")
	}
	if !repo {
		options := git.PlainInitOptions{InitOptions: git.InitOptions{DefaultBranch: plumbing.Main}}
		if _, err := git.PlainInitWithOptions(dir, &options); err != nil {
			return fmt.Errorf("init: making %s a git repository: %w", dir, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "CODEOWNERS"), examples.CodeOwners, 0o644); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if e.IsDir() {
			return os.MkdirAll(path, 0o755)
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if url != "" && name == "fleet.cue" {
			data = urlLine.ReplaceAllLiteral(data, []byte("url: "+strconv.Quote(url)))
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("init: %w", err)
		}
		return nil
	})
}

func nextSteps(out io.Writer, dir string) error {
	at := ""
	if dir != "." {
		at = "  cd " + dir + "\n"
	}
	_, err := fmt.Fprintf(out, `A fleet repository is in %s. Next:
%s  bakehouse key create root --use root
  bakehouse key create online --use targets,snapshot,timestamp
  bakehouse key create release --use package
  bakehouse root init
  bakehouse upgrade                      # pins the host programs
  sed -i s/@OWNER/@your-team/ CODEOWNERS # who must approve what acts as root
  bakehouse check --worktree
  git add --all && git commit -m "Start the fleet"
  bakehouse reconcile
`, dir, at)
	return err
}
