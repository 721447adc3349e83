package msi

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"bakehouse/reconcile/bake/msi/msidb"
	"bakehouse/schema"
)

// places are the directories, components and files of a package.
type places struct {
	p           *Package
	directories map[string]string // keys, by path
	dirRows     [][]any
	components  map[string]*component // by plugin and directory, or path of a program
	order       []*component
	taken       map[string]bool // names, by directory and in lower case
}

// component is what is installed together. Its id says what it is to Windows; its key is in the tables.
type component struct {
	key, guid, dir, keyPath string
	attributes              int
}

const wide = 256 // msidbComponentAttributes64bit

func newPlaces(p *Package) *places {
	pl := &places{p: p, directories: map[string]string{}, components: map[string]*component{}, taken: map[string]bool{}}
	pl.dirRows = [][]any{{"TARGETDIR", nil, "SourceDir"}}
	for dir, key := range p.roots() {
		pl.directories[dir] = key
		pl.dirRows = append(pl.dirRows, []any{key, "TARGETDIR", "."})
	}
	msidb.Rows(pl.dirRows)
	return pl
}

// Formatted puts the properties of folders in the place of names.
func (p *Package) Formatted(text string, folders map[string]string) string {
	roots := p.roots()
	for name, folder := range folders {
		text = strings.ReplaceAll(text, name, "["+roots[folder]+"]")
	}
	return text
}

// roots are the folders that packages install to, as properties of Windows Installer.
func (p *Package) roots() map[string]string {
	programs := "ProgramFiles64Folder"
	if p.Platform.Arch == "386" {
		programs = "ProgramFilesFolder"
	}
	return map[string]string{schema.WindowsPrograms: programs, schema.WindowsData: "CommonAppDataFolder"}
}

// directory is the key of a folder, which is made known with those that it is in.
func (pl *places) directory(dir string) (string, error) {
	if key := pl.directories[dir]; key != "" {
		return key, nil
	}
	parent := path.Dir(dir)
	if parent == dir || parent == "/" {
		return "", fmt.Errorf("%s is not below %s or %s", dir, schema.WindowsPrograms, schema.WindowsData)
	}
	in, err := pl.directory(parent)
	if err != nil {
		return "", err
	}
	name, err := pl.name(parent, path.Base(dir))
	if err != nil {
		return "", err
	}
	key := "d" + short("directory", strings.ToLower(dir))
	pl.directories[dir] = key
	pl.dirRows = append(pl.dirRows, []any{key, in, name})
	return key, nil
}

// plain is a name that was good for MS-DOS already.
var plain = regexp.MustCompile(`^[A-Za-z0-9_-]{1,8}(\.[A-Za-z0-9_-]{1,3})?$`)

var extension = regexp.MustCompile(`\.([A-Za-z0-9_]{1,3})[^.]*$`)

// name is a name as the tables have it: a short one for MS-DOS, which nothing else in the folder has, and the name.
func (pl *places) name(dir, name string) (string, error) {
	fold := strings.ToLower(dir + "/" + name)
	if pl.taken[fold] {
		return "", fmt.Errorf("%s/%s is there twice, as Windows does not tell upper from lower case", dir, name)
	}
	pl.taken[fold] = true
	if plain.MatchString(name) {
		return name, nil
	}
	ext := ""
	if e := extension.FindStringSubmatch(name); e != nil {
		ext = "." + e[1]
	}
	for n := range 100 {
		s := short("name", fold, fmt.Sprint(n))[:8] + ext
		if at := strings.ToLower(dir + "/" + s); !pl.taken[at] {
			pl.taken[at] = true
			return s + "|" + name, nil
		}
	}
	return "", fmt.Errorf("no short name is left for %s", name)
}

// component is the one of a plugin's files in a folder, or, by its path, of a program that is a service.
func (pl *places) component(plugin, dir, program string) (*component, error) {
	id := plugin + "\x00" + dir + "\x00" + program
	if c := pl.components[id]; c != nil {
		return c, nil
	}
	key, err := pl.directory(dir)
	if err != nil {
		return nil, err
	}
	c := &component{key: "c" + short("component", plugin, strings.ToLower(dir), strings.ToLower(program)),
		guid: guid(pl.p.Name, pl.p.Platform.Arch, plugin, strings.ToLower(dir), strings.ToLower(program)), dir: key}
	if pl.p.Platform.Arch != "386" {
		c.attributes = wide
	}
	pl.components[id], pl.order = c, append(pl.order, c)
	return c, nil
}

// ofFile is the component of a file, whose key path is its first file.
func (pl *places) ofFile(f File) (*component, error) {
	program := ""
	if slices.ContainsFunc(pl.p.Services, func(s Service) bool { return s.Program == f.Path }) {
		program = f.Path
	}
	c, err := pl.component(f.Plugin, path.Dir(f.Path), program)
	if err == nil && c.keyPath == "" {
		c.keyPath = Key(f.Path)
	}
	return c, err
}

func (pl *places) rows() (components, features [][]any) {
	for _, c := range pl.order {
		var keyPath any
		if c.keyPath != "" {
			keyPath = c.keyPath
		}
		components = append(components, []any{c.key, c.guid, c.dir, c.attributes, nil, keyPath})
		features = append(features, []any{feature, c.key})
	}
	return components, features
}
