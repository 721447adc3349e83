package starter

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

	"bakehouse/reconcile/desired"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Host is one to be added to a fleet. What is empty it inherits.
type Host struct {
	Name, Folder, Address        string
	Platform, Format, Site, Ring string
	Labels, Tags                 []string // NAME=VALUE
}

// Add returns what is to be appended, and why no package can be built for the host, if none can.
func (h *Host) Add(ctx context.Context, repo string) (text, lacks string, err error) {
	line, err := h.cue()
	if err != nil {
		return "", "", err
	}
	dir := path.Join("hosts", h.Folder)
	file := path.Join(dir, "hosts.cue")
	old, err := os.ReadFile(filepath.Join(repo, filepath.FromSlash(file)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	switch {
	case len(bytes.TrimSpace(old)) == 0:
		clause := "package " + packageClause(repo, h.Folder) + "\n"
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
		if strings.EqualFold(other.Name, h.Name) {
			return "", "", fault.Hint(fmt.Errorf("host %s exists: %s", other.Name, other.Pos),
				"names of hosts are unique in a fleet; choose another name or edit that entry")
		}
	}
	after, err := desired.Edited(ctx, repo, file, append(old, "\n"+line...))
	if err != nil {
		return "", "", fault.Hint(fmt.Errorf("with host %s the repository has errors:\n%w", h.Name, err),
			"nothing was printed; `bakehouse host add --help` lists the flags")
	}
	if r := after.Resolved.Hosts[h.Name]; r != nil {
		lacks = r.Lacks
	}
	return text, lacks, nil
}

// cue is the host as one line.
func (h *Host) cue() (string, error) {
	if err := schema.CheckHostName(h.Name); err != nil {
		return "", fault.Hint(err, "want the host's name in the monitoring, such as web03 or web03.example.com")
	}
	if h.Folder != "" && (!fs.ValidPath(h.Folder) || h.Folder == "." || hidden(h.Folder)) {
		return "", fault.Hint(fmt.Errorf("invalid folder %.80q", h.Folder),
			"want a path below hosts/, such as web or web/eu")
	}
	if h.Platform != "" {
		if _, err := schema.ParsePlatform(h.Platform); err != nil {
			return "", err
		}
	}
	if h.Format != "" && !schema.Format(h.Format).Valid() {
		return "", fmt.Errorf("unknown format %.40q: want deb, rpm, tgz, pkg or msi", h.Format)
	}
	var fields []string
	for _, f := range [][2]string{{"address", h.Address}, {"platform", h.Platform}, {"format", h.Format},
		{"site", h.Site}, {"ring", h.Ring}} {
		if f[1] != "" {
			fields = append(fields, f[0]+": "+cueString(f[1]))
		}
	}
	for _, p := range []struct {
		flag, field string
		given       []string
	}{{"label", "labels", h.Labels}, {"tag", "tags", h.Tags}} {
		pairs, err := cuePairs(p.flag, p.given)
		if err != nil {
			return "", err
		}
		if len(pairs) > 0 {
			fields = append(fields, p.field+": "+cueStruct(pairs))
		}
	}
	return "hosts: " + cueLabel(h.Name) + ": " + cueStruct(fields) + "\n", nil
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
