package fleet

import (
	"io/fs"

	"bakehouse/schema"
	"bakehouse/schema/keeps"
)

// Inputs is everything besides its parameters that a plugin's output may depend on.
type Inputs struct {
	Platform schema.Platform
	Host     map[string]string // exactly the fields that HostFields names, as Host.Field has them
	Updater  bool              // the package has the updater; false also if the plugin does not read it
	Fleet    Info
}

// Output is what a plugin puts on a host.
type Output struct {
	Plugin    string
	Files     []File     // by path
	Services  []Service  // by name
	Intervals []Interval // by name
	Users     []User     // by name
	Groups    []string   // sorted: system groups, besides those that users have
	Relations Relations
	Scripts   map[string]string // by step, one of Steps; POSIX shell
	Health    *schema.HealthCheck
	Keeps     *keeps.Keeps
	Warnings  []string // for people: no part of what is on the host
}

// Steps are the steps of installing and removing at which scripts run. A format that lacks pretrans and posttrans runs
// them as the beginning of preinst and the end of postinst.
var Steps = []string{"pretrans", "preinst", "postinst", "prerm", "postrm", "posttrans"}

// ActionVariable is the variable of scripts' environment that says what happens: install, upgrade or remove.
const ActionVariable = "BAKEHOUSE_ACTION"

// File is a file on the host: a regular one, which has exactly one of Content, Repo, URL and Program, or by its Mode a
// directory or a symbolic link, which has none of them. What these are is the whole of SHA256.
type File struct {
	Path  string      // absolute and clean
	Mode  fs.FileMode // permission bits, and fs.ModeDir or fs.ModeSymlink
	Link  string      // of a symbolic link: its target, as it is written
	Owner string      // user, by name; empty: root
	Group string      // by name; empty: root
	// Capabilities are the powers of root that whoever executes it has, sorted, such as cap_net_raw. Linux's only.
	Capabilities []string
	SHA256       schema.Digest
	Size         int64         // -1 if not known: that of a program, or of what a URL has
	Content      []byte        // not nil: inline content, which may depend on parameters
	Repo         string        // path in the repo, slash-separated
	URL          string        // where reconcile fetches it, once
	Archive      schema.Digest // of what URL has, if Member is taken from it
	Member       string        // the file is this member of the archive at Repo or URL
	Tree         bool          // it comes with others of the archive at Repo
	Program      bool          // the pinned host program of the platform
	Pos          Pos           // where the plugin declares it, or the rule that a shipped plugin takes it from
	Source       Pos           // where URL, or Member if there is one, is named
}

// Regular reports whether it is neither a directory nor a link, so that it has bytes.
func (f *File) Regular() bool { return f.Mode.IsRegular() }

// Directory is a directory of its own, which a package makes also if it has no file in it.
func Directory(name string, mode fs.FileMode) File {
	return File{Path: name, Mode: fs.ModeDir | mode.Perm(), SHA256: schema.DigestOf([]byte("directory"))}
}

// SymbolicLink is a link. It has no mode and no owner that anybody looks at.
func SymbolicLink(name, target string) File {
	return File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: target, Size: int64(len(target)),
		SHA256: schema.DigestOf([]byte("link " + target))}
}

// Shared reports whether the bytes are the same in every package that has the file, whatever its parameters.
func (f *File) Shared() bool { return f.Repo != "" || f.URL != "" || f.Program }

// ByProvenance reports whether SHA256 is not of the bytes but names where they come from: the digest of an archive,
// and a member of it. Nobody knows the bytes' own digest before the archive is fetched, which a plan must do without;
// and a recipe must be the same before and after. Whoever opens such a file checks the archive.
func (f *File) ByProvenance() bool { return f.URL != "" && f.Member != "" }

// Pin is the digest of what URL has.
func (f *File) Pin() schema.Digest {
	if f.ByProvenance() {
		return f.Archive
	}
	return f.SHA256
}

// Service is a long-running program that the host's service manager starts; with Listen, one that is started for each
// connection, its standard input and output.
type Service struct {
	Name            string   `json:"name"` // without ".service"
	Description     string   `json:"description,omitempty"`
	Exec            string   `json:"exec"` // command line as systemd reads it
	EnvironmentFile string   `json:"environmentFile,omitempty"`
	User            string   `json:"user,omitempty"`   // empty: root
	Restart         string   `json:"restart"`          // as systemd's Restart=
	Enable          bool     `json:"enable"`           // start it at installation and at boot
	Listen          []string `json:"listen,omitempty"` // as systemd's ListenStream=
	// who may connect to Unix sockets; empty: all
	ListenUser string   `json:"listenUser,omitempty"`
	Allow      []string `json:"allow,omitempty"` // addresses and networks in canonical form; none: all
	// Its own folders, by their names below /run, /var/lib, /var/cache and /var/log.
	Directories Directories `json:"directories,omitzero"`
	Pos         Pos         `json:"-"`
}

// Directories are folders that a service owns, by name; empty: it has none there.
type Directories struct {
	Run   string `json:"run,omitempty"`
	State string `json:"state,omitempty"`
	Cache string `json:"cache,omitempty"`
	Logs  string `json:"logs,omitempty"`
}

// Interval is a command that is run at the host's start and then each time Every after it has last been started.
type Interval struct {
	Name            string          `json:"name"` // of its service and timer, without suffix
	Description     string          `json:"description"`
	Exec            string          `json:"exec"`  // command line as systemd reads it
	Every           schema.Duration `json:"every"` // whole seconds
	EnvironmentFile string          `json:"environmentFile,omitempty"`
	User            string          `json:"user,omitempty"`    // empty: root
	Timeout         schema.Duration `json:"timeout,omitempty"` // whole seconds; 0: none
	// file below a folder of /var/cache that keeps what it prints
	Output string `json:"output,omitempty"`
	Enable bool   `json:"enable"`
	Pos    Pos    `json:"-"`
}

// User is a system user, with a group of its name.
type User struct {
	Name string `json:"name"`
	// letters, digits and punctuation that no shell, and no password file, minds
	Description string   `json:"description,omitempty"`
	Home        string   `json:"home"`
	Shell       string   `json:"shell,omitempty"`  // empty: nobody can log in
	Groups      []string `json:"groups,omitempty"` // sorted: further groups
	Pos         Pos      `json:"-"`
}
