package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/schema"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// newHost is what the flags of `host add` say.
type newHost struct {
	name, folder, address        string
	platform, format, site, ring string
	labels, tags                 []string // NAME=VALUE
}

func hostAdd() *cobra.Command {
	var h newHost
	var repo string
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Print the CUE that adds a host, to be appended to its folder's hosts.cue",
		Long: `Print the CUE that adds a host. Nothing is changed: append the output to hosts.cue in the directory of
the host's folder, hosts/FOLDER/hosts.cue, or hosts/hosts.cue without --folder. If that file does not exist or is empty,
the output starts with a package clause. Create the directory of a new folder first.

Give only what differs from the defaults of the folder and those above it. The host is checked with the rest of the
files: nothing is printed if the name is taken or the result has errors.`,
		Example: `  bakehouse host add web03 --folder web --address 192.0.2.13 >> hosts/web/hosts.cue
  mkdir hosts/app && bakehouse host add app01 --folder app --label role=app >> hosts/app/hosts.cue`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h.name = args[0]
			text, lacks, err := h.add(cmd.Context(), repo)
			if err != nil {
				return err
			}
			if lacks != "" {
				console.Warn(cmd.ErrOrStderr(), "no package can be built for %s: %s", h.name, lacks)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	keyRepoFlag(c, &repo)
	f := c.Flags()
	f.StringVar(&h.folder, "folder", "", "folder below hosts/, such as web or web/eu (default hosts/ itself)")
	f.StringVar(&h.address, "address", "", "host name or IP address, for rules and plugins")
	f.StringVar(&h.platform, "platform", "", "operating system and architecture, such as linux/amd64")
	f.StringVar(&h.format, "format", "", "package format: deb, rpm, tgz or pkg")
	f.StringVar(&h.site, "site", "", "site that serves the host")
	f.StringVar(&h.ring, "ring", "", "ring of the rollout, instead of the first whose condition holds")
	f.StringArrayVar(&h.labels, "label", nil, "label, as `NAME=VALUE`; can be repeated")
	f.StringArrayVar(&h.tags, "tag", nil, "tag, as `NAME=VALUE`; can be repeated")
	return c
}

// add returns what is to be appended, and why no package can be built for the host, if none can.
func (h *newHost) add(ctx context.Context, repo string) (text, lacks string, err error) {
	line, err := h.cue()
	if err != nil {
		return "", "", err
	}
	dir := path.Join("hosts", h.folder)
	file := path.Join(dir, "hosts.cue")
	old, err := os.ReadFile(filepath.Join(repo, filepath.FromSlash(file)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	switch {
	case len(bytes.TrimSpace(old)) == 0:
		clause := "package " + packageClause(repo, h.folder) + "\n"
		old, text = []byte(clause), clause+"\n"+line
	case old[len(old)-1] != '\n':
		text = "\n" + line
	default:
		text = line
	}
	before, err := desired.Edited(ctx, repo, file, old)
	if err != nil {
		return "", "", fault.Hint(err, "fix these first; nothing was printed")
	}
	for _, other := range before.Fleet.Hosts {
		if strings.EqualFold(other.Name, h.name) {
			return "", "", fault.Hint(fmt.Errorf("host %s exists: %s", other.Name, other.Pos),
				"names of hosts are unique in a fleet; choose another name or edit that entry")
		}
	}
	after, err := desired.Edited(ctx, repo, file, append(old, "\n"+line...))
	if err != nil {
		return "", "", fault.Hint(fmt.Errorf("with host %s the repository has errors:\n%w", h.name, err),
			"nothing was printed; `bakehouse host add --help` lists the flags")
	}
	if r := after.Resolved.Hosts[h.name]; r != nil {
		lacks = r.Lacks
	}
	return text, lacks, nil
}

// cue is the host as one line.
func (h *newHost) cue() (string, error) {
	if err := schema.CheckHostName(h.name); err != nil {
		return "", fault.Hint(err, "want the host's name in the monitoring, such as web03 or web03.example.com")
	}
	if h.folder != "" && (!fs.ValidPath(h.folder) || h.folder == "." || hidden(h.folder)) {
		return "", fault.Hint(fmt.Errorf("invalid folder %.80q", h.folder),
			"want a path below hosts/, such as web or web/eu")
	}
	if h.platform != "" {
		if _, err := schema.ParsePlatform(h.platform); err != nil {
			return "", err
		}
	}
	if h.format != "" && !schema.Format(h.format).Valid() {
		return "", fmt.Errorf("unknown format %.40q: want deb, rpm, tgz or pkg", h.format)
	}
	var fields []string
	for _, f := range [][2]string{{"address", h.address}, {"platform", h.platform}, {"format", h.format},
		{"site", h.site}, {"ring", h.ring}} {
		if f[1] != "" {
			fields = append(fields, f[0]+": "+cueString(f[1]))
		}
	}
	for _, p := range []struct {
		flag, field string
		given       []string
	}{{"label", "labels", h.labels}, {"tag", "tags", h.tags}} {
		pairs, err := cuePairs(p.flag, p.given)
		if err != nil {
			return "", err
		}
		if len(pairs) > 0 {
			fields = append(fields, p.field+": "+cueStruct(pairs))
		}
	}
	return "hosts: " + cueLabel(h.name) + ": " + cueStruct(fields) + "\n", nil
}

func cuePairs(flag string, given []string) (fields []string, err error) {
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		if !ok || name == "" {
			return nil, fault.Hint(fmt.Errorf("invalid --%s %.80q", flag, g),
				"want NAME=VALUE, such as --%s role=db", flag)
		}
		fields = append(fields, cueLabel(name)+": "+cueString(value))
	}
	return fields, nil
}

// cueStruct needs no braces for a single field.
func cueStruct(fields []string) string {
	if len(fields) == 1 {
		return fields[0]
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

var plainLabel = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// keywords of CUE; as labels they are quoted.
var keywords = []string{"package", "import", "for", "in", "if", "let", "true", "false", "null"}

func cueLabel(s string) string {
	if plainLabel.MatchString(s) && !slices.Contains(keywords, s) {
		return s
	}
	return cueString(s)
}

// cueString is s as JSON writes it, which CUE reads alike.
func cueString(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// hidden reports whether a folder is one that is not read.
func hidden(folder string) bool {
	return slices.ContainsFunc(strings.Split(folder, "/"), func(s string) bool { return s[0] == '.' || s[0] == '_' })
}

var (
	clause    = regexp.MustCompile(`(?m)^package\s+([A-Za-z_$][A-Za-z0-9_$]*)`)
	notInName = regexp.MustCompile(`[^A-Za-z0-9]+`)
)

// packageClause is the package of a folder's files: that of a file that is there, or else the folder's name. A package
// that has the name of one above would be part of it.
func packageClause(repo, folder string) string {
	dir := filepath.Join(repo, "hosts", filepath.FromSlash(folder))
	entries, _ := os.ReadDir(dir) // none: a new folder
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".cue") {
			continue
		}
		text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		if m := clause.FindSubmatch(text); m != nil {
			return string(m[1])
		}
	}
	if folder == "" {
		return "hosts"
	}
	taken := map[string]bool{packageClause(repo, ""): true}
	parent := path.Dir(folder)
	for ; parent != "."; parent = path.Dir(parent) {
		taken[packageClause(repo, parent)] = true
	}
	name := strings.Trim(notInName.ReplaceAllString(path.Base(folder), "_"), "_")
	for name == "" || name[0] <= '9' || slices.Contains(keywords, name) || taken[name] {
		name = "folder_" + name
	}
	return name
}
