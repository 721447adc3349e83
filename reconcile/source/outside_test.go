package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/schema/fault"
)

func TestWhatTheRepositoryAroundAFolderCouldSupplyIsRefused(t *testing.T) {
	dir, git := repo(t)
	write(t, dir, "sub/a", "a")
	git("add", ".")
	git("commit", "-q", "-m", "a")
	away := t.TempDir()
	write(t, away, "settings.yaml", "")
	linked, work := filepath.Join(away, "linked"), filepath.Join(away, "worktree")
	git("worktree", "add", "-q", work)
	for from, to := range map[string]string{
		filepath.Join(dir, "out.yaml"): filepath.Join(away, "settings.yaml"),
		filepath.Join(away, "in.yaml"): filepath.Join(dir, "sub", "a"),
		linked:                         filepath.Join(dir, "sub"),
	} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		dir, name string
		refused   bool
	}{
		"a file in the work tree":                     {dir, filepath.Join(dir, "sub", "a"), true},
		"seen from a folder of it":                    {filepath.Join(dir, "sub"), filepath.Join(dir, "sub", "a"), true},
		"seen from a link to a folder of it":          {linked, filepath.Join(dir, "sub", "a"), true},
		"by a link that leads into it":                {dir, filepath.Join(away, "in.yaml"), true},
		"by a link in it that leads out":              {dir, filepath.Join(dir, "out.yaml"), true},
		"a file that is not there yet":                {dir, filepath.Join(dir, "new", "cache"), true},
		"below a link into it, and not there yet":     {dir, filepath.Join(linked, "new", "cache"), true},
		"in another work tree of it":                  {dir, filepath.Join(work, "sub", "a"), true},
		"in its git directory":                        {dir, filepath.Join(dir, ".git", "config"), true},
		"outside of it":                               {dir, filepath.Join(away, "settings.yaml"), false},
		"outside of it, and not there yet":            {dir, filepath.Join(away, "new", "cache"), false},
		"no file":                                     {dir, os.DevNull, false},
		"in a folder that is in no git repository":    {away, filepath.Join(away, "settings.yaml"), false},
		"in the repository, seen from no git folder":  {away, filepath.Join(dir, "sub", "a"), false},
		"in a link's folder that is in no repository": {away, filepath.Join(linked, "a"), false},
	} {
		err := gitdir.Outside(c.dir, c.name)
		if fault.IsRefusal(err) != c.refused || err != nil && !c.refused {
			t.Errorf("%s: %v", what, err)
		}
		if c.refused && err != nil && !strings.HasPrefix(err.Error(), c.name+" ") {
			t.Errorf("%s: the error does not begin with what the user named: %v", what, err)
		}
	}
	t.Chdir(filepath.Join(dir, "sub"))
	if err := gitdir.Outside(".", "new/cache"); !fault.IsRefusal(err) {
		t.Errorf("a relative name: %v", err)
	}
	if err := gitdir.Outside(filepath.Join(away, "nowhere"), "x"); err == nil || fault.IsRefusal(err) {
		t.Errorf("a folder that does not exist: %v", err)
	}
}
