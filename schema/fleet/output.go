package fleet

import (
	"io/fs"

	"bakehouse/schema"
)

// Inputs is everything besides its parameters that a plugin's output may depend on.
type Inputs struct {
	Platform schema.Platform
	Host     map[string]string // exactly the fields that HostFields names
	Fleet    Info
}

// Output is what a plugin puts on a host.
type Output struct {
	Plugin   string
	Files    []File            // by path
	Services []Service         // by name
	Scripts  map[string]string // by step: preinst, postinst, prerm, postrm; POSIX shell
	Health   *schema.HealthCheck
}

// File is a regular file on the host. It has exactly one of Content, Repo, URL and Program.
type File struct {
	Path    string      // absolute and clean
	Mode    fs.FileMode // permission bits only
	SHA256  schema.Digest
	Size    int64  // -1 if not known: that of a program, or of what a URL has
	Content []byte // not nil: inline content, which may depend on parameters
	Repo    string // path in the repo, slash-separated
	URL     string // where reconcile fetches it, once
	Program bool   // the pinned host program of the platform
	Pos     Pos    // where the plugin declares it
}

// Shared reports whether the bytes are the same in every package that has the file, whatever its parameters.
func (f *File) Shared() bool { return f.Repo != "" || f.URL != "" || f.Program }

// Service is a long-running program that the host's service manager starts.
type Service struct {
	Name            string `json:"name"` // without ".service"
	Description     string `json:"description,omitempty"`
	Exec            string `json:"exec"` // command line as systemd reads it
	EnvironmentFile string `json:"environmentFile,omitempty"`
	User            string `json:"user,omitempty"` // empty: root
	Restart         string `json:"restart"`        // as systemd's Restart=
	Enable          bool   `json:"enable"`         // start it at installation and at boot
	Pos             Pos    `json:"-"`
}
