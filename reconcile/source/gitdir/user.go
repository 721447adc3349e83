package gitdir

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// Effective is what git goes by in this repository: the system's and the user's configuration too, with the files that
// they include. What cannot be read of these is passed over.
func (r *Repo) Effective() Config {
	var c Config
	if v := os.Getenv("GIT_CONFIG_NOSYSTEM"); v == "" || v == "0" || strings.EqualFold(v, "false") {
		c.include(cmp.Or(os.Getenv("GIT_CONFIG_SYSTEM"), "/etc/gitconfig"), 0)
	}
	if file, ok := os.LookupEnv("GIT_CONFIG_GLOBAL"); ok {
		c.include(file, 0)
	} else {
		c.include(UserFile("config"), 0)
		c.include(home("~/.gitconfig"), 0)
	}
	c.include(filepath.Join(r.Common, "config"), 0)
	if r.Config.Bool("extensions", "worktreeconfig", false) {
		c.include(filepath.Join(r.Dir, "config.worktree"), 0)
	}
	return c
}

// maxIncludes is how deep files that include files are read, as by git.
const maxIncludes = 10

func (c *Config) include(file string, depth int) {
	data, err := os.ReadFile(file)
	if err != nil || depth > maxIncludes {
		return
	}
	read, _ := parseConfig(data)
	for _, s := range read.entries {
		c.entries = append(c.entries, s)
		if s.section == "include" && s.key == "path" {
			path := home(s.value)
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(file), path)
			}
			c.include(path, depth+1)
		}
	}
}

// Path is a setting that names a file, empty if it is not set.
func (c Config) Path(section, key string) string {
	v, _ := c.Get(section, "", key)
	return home(v)
}

// UserFile is a file of the user's git configuration.
func UserFile(name string) string {
	return filepath.Join(cmp.Or(os.Getenv("XDG_CONFIG_HOME"), home("~/.config")), "git", name)
}

// home replaces a leading ~/.
func home(path string) string {
	if below, ok := strings.CutPrefix(path, "~/"); ok {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, below)
		}
	}
	return path
}
