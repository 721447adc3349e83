// Package msi reads packages of Windows Installer, and is stricter than Windows: a compound file in which every
// sector is used once, tables whose rows are in order and whose keys lead somewhere, cabinets with the files that the
// tables name.
//
// It is written from the specifications and shares nothing with what writes packages (reconcile/bake/msi), so that one
// finds the faults of the other: Windows says little more of a fault than that there is one, and what else reads
// packages takes most faults. What it reads may be anything: it is bounded by the file's size.
package msi

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Package is a package that was read without a fault that matters.
type Package struct {
	// Minor is what is not as specified, and Windows takes: a directory that is no red-black tree, sectors that are
	// free, wrong counts in the pool of texts.
	Minor []string

	Files                           []File    // in the order of their sequence
	Folders                         []string  // that are made if they are empty, too
	Services                        []Service // in the order of the table
	ProductID, PackageID, UpgradeID string
	Platform                        string // the summary's word, such as x64

	c  *compound
	db *database
}

// File is a file that is installed. Paths begin with the name that Windows Installer has for a folder, such as
// ProgramFiles64Folder.
type File struct {
	Path    string
	Size    int64
	Private bool   // it has a list of access of its own
	MD5     []byte // nil if the package has none

	key, cabinet string
}

// Service is one that is installed.
type Service struct {
	Name, Program, Arguments string
	Start                    bool // when the package is installed
}

// class is the id of packages at the root of a compound file.
const class = "\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"

// Open reads all of a package but its cabinets.
func Open(r io.ReaderAt, size int64) (*Package, error) {
	c, err := openCompound(r, size)
	if err != nil {
		return nil, fmt.Errorf("compound file: %w", err)
	}
	if string(c.class[:]) != class {
		return nil, errors.New("compound file: not one of Windows Installer")
	}
	db, err := openDatabase(c.streams)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	p := &Package{Minor: append(c.minor, db.minor...), c: c, db: db}
	for _, read := range []func() error{p.summary, p.properties, p.references, p.sequences, p.files, p.folders,
		p.services} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("database: %w", err)
		}
	}
	return p, nil
}

// Has reports whether a table is there.
func (p *Package) Has(table string) bool { return p.db.tables[table] != nil }

// Property is one of the package's; empty if it is not set.
func (p *Package) Property(name string) string {
	for _, row := range p.rows("Property") {
		if row[0].Text == name {
			return row[1].Text
		}
	}
	return ""
}

func (p *Package) rows(table string) [][]Value {
	if t := p.db.tables[table]; t != nil {
		return t.rows
	}
	return nil
}

// get is columns of a table's rows.
func (p *Package) get(table string, names ...string) (rows [][]Value, err error) {
	t := p.db.tables[table]
	if t == nil {
		return nil, nil
	}
	var at []int
	for _, name := range names {
		i := t.column(name)
		if i < 0 {
			return nil, fmt.Errorf("table %s has no column %s", table, name)
		}
		at = append(at, i)
	}
	for _, row := range t.rows {
		var some []Value
		for _, i := range at {
			some = append(some, row[i])
		}
		rows = append(rows, some)
	}
	return rows, nil
}

// summary reads the property set that stands in front (MS-OLEPS).
func (p *Package) summary() error {
	s, ok := p.c.streams["\x05SummaryInformation"]
	if !ok {
		return errors.New("there is no summary")
	}
	b, err := s.bytes(64 << 10)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	if len(b) < 56 || le.Uint16(b) != 0xfffe || le.Uint32(b[24:]) < 1 || le.Uint32(b[44:]) != 48 {
		return errors.New("the summary is no property set")
	}
	set := b[48:]
	count := le.Uint32(set[4:])
	if int64(le.Uint32(set)) > int64(len(set)) || int64(count)*8+8 > int64(len(set)) {
		return errors.New("the summary is cut short")
	}
	text := map[uint32]string{}
	for i := range count {
		id, at := le.Uint32(set[8+8*i:]), int64(le.Uint32(set[12+8*i:]))
		if at%4 != 0 || at+8 > int64(len(set)) {
			return errors.New("the summary leads out of itself")
		}
		if kind := le.Uint32(set[at:]); kind != 30 {
			text[id] = fmt.Sprint(le.Uint32(set[at+4:]))
			continue
		}
		length := int64(le.Uint32(set[at+4:]))
		if length < 1 || at+8+length > int64(len(set)) || set[at+8+length-1] != 0 {
			return errors.New("a text of the summary is cut short")
		}
		text[id] = string(set[at+8 : at+8+length-1])
	}
	const template, revision, pages = 7, 9, 14
	platform, _, _ := strings.Cut(text[template], ";")
	p.Platform, p.PackageID = platform, text[revision]
	if !guid(p.PackageID) || !slices.Contains([]string{"x64", "Intel", "Arm64", ""}, platform) || text[pages] == "" {
		return errors.New("the summary lacks a package code, a platform or the version that is required")
	}
	return nil
}

// guid reports whether s is one in braces and capitals.
func guid(s string) bool {
	if len(s) != 38 || s[0] != '{' || s[37] != '}' {
		return false
	}
	for i, c := range []byte(s[1:37]) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') ||
			!dash && (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func (p *Package) properties() error {
	for _, name := range []string{"Manufacturer", "ProductLanguage", "ProductName", "ProductVersion"} {
		if p.Property(name) == "" {
			return fmt.Errorf("there is no property %s", name)
		}
	}
	p.ProductID, p.UpgradeID = p.Property("ProductCode"), p.Property("UpgradeCode")
	if !guid(p.ProductID) || p.UpgradeID != "" && !guid(p.UpgradeID) {
		return errors.New("the product's code, or that of its upgrades, is none")
	}
	return nil
}

// references see that what a column names is there.
func (p *Package) references() error {
	for _, r := range []struct{ table, column, to string }{
		{"Directory", "Directory_Parent", "Directory"}, {"Component", "Directory_", "Directory"},
		{"FeatureComponents", "Feature_", "Feature"}, {"FeatureComponents", "Component_", "Component"},
		{"Feature", "Feature_Parent", "Feature"}, {"File", "Component_", "Component"}, {"MsiFileHash", "File_", "File"},
		{"CreateFolder", "Directory_", "Directory"}, {"CreateFolder", "Component_", "Component"},
		{"Registry", "Component_", "Component"}, {"ServiceInstall", "Component_", "Component"},
		{"ServiceControl", "Component_", "Component"},
	} {
		rows, err := p.get(r.table, r.column)
		if err != nil {
			return err
		}
		keys := p.keys(r.to)
		for _, row := range rows {
			if !row[0].Null && !keys[row[0].Text] {
				return fmt.Errorf("table %s: %s %.80q is not in table %s", r.table, r.column, row[0].Text, r.to)
			}
		}
	}
	return p.components()
}

func (p *Package) keys(table string) map[string]bool {
	keys := map[string]bool{}
	for _, row := range p.rows(table) {
		keys[row[0].Text] = true
	}
	return keys
}

// components have ids that nothing else has, a key path that is theirs, and belong to a feature.
func (p *Package) components() error {
	rows, err := p.get("Component", "Component", "ComponentId", "Attributes", "KeyPath")
	if err != nil {
		return err
	}
	owners := map[string]map[string]string{}
	for table, column := range map[string]string{"File": "Component_", "Registry": "Component_"} {
		owners[table] = map[string]string{}
		of, err := p.get(table, table, column)
		if err != nil {
			return err
		}
		for _, row := range of {
			owners[table][row[0].Text] = row[1].Text
		}
	}
	featured := map[string]bool{}
	for _, row := range p.rows("FeatureComponents") {
		featured[row[1].Text] = true
	}
	ids := map[string]bool{}
	for _, row := range rows {
		name, id := row[0].Text, row[1].Text
		if !row[1].Null && !guid(id) || id != "" && ids[id] || !featured[name] {
			return fmt.Errorf("component %.80q: its id is none, or another's, or no feature has it", name)
		}
		ids[id] = true
		const viaRegistry = 4
		table := "File"
		if row[2].Number&viaRegistry != 0 {
			table = "Registry"
		}
		if !row[3].Null && owners[table][row[3].Text] != name {
			return fmt.Errorf("component %.80q: its key path is not its own", name)
		}
	}
	return nil
}

// order is what has to come one behind another where it is there.
var order = []string{"FindRelatedProducts", "CostInitialize", "FileCost", "CostFinalize", "InstallValidate",
	"InstallInitialize", "ProcessComponents", "StopServices", "DeleteServices", "RemoveFiles", "CreateFolders",
	"InstallFiles", "InstallServices", "StartServices", "RegisterProduct", "PublishProduct", "InstallFinalize"}

func (p *Package) sequences() error {
	rows, err := p.get("InstallExecuteSequence", "Action", "Sequence")
	if err != nil {
		return err
	}
	at := map[string]int{}
	for _, row := range rows {
		at[row[0].Text] = row[1].Number
	}
	before := 0
	for _, action := range order {
		n, ok := at[action]
		if !ok {
			continue
		}
		if n <= before {
			return fmt.Errorf("action %s comes too early", action)
		}
		before = n
	}
	for _, action := range []string{"CostInitialize", "FileCost", "CostFinalize", "InstallValidate",
		"InstallInitialize",
		"InstallFiles", "InstallFinalize"} {
		if _, ok := at[action]; !ok {
			return fmt.Errorf("action %s is missing", action)
		}
	}
	for table, action := range map[string]string{"ServiceInstall": "InstallServices", "ServiceControl": "StopServices",
		"CreateFolder": "CreateFolders", "Registry": "WriteRegistryValues", "Upgrade": "RemoveExistingProducts"} {
		if _, ok := at[action]; !ok && len(p.rows(table)) > 0 {
			return fmt.Errorf("table %s has rows, and there is no action %s", table, action)
		}
	}
	return nil
}

// directories are paths by key.
func (p *Package) directories() (map[string]string, error) {
	rows, err := p.get("Directory", "Directory", "Directory_Parent", "DefaultDir")
	if err != nil {
		return nil, err
	}
	type dir struct{ parent, name string }
	all := map[string]dir{}
	for _, row := range rows {
		target, _, _ := strings.Cut(row[2].Text, ":")
		all[row[0].Text] = dir{row[1].Text, long(target)}
	}
	paths := map[string]string{}
	for key := range all {
		var parts []string
		at := key
		for depth := 0; ; depth++ {
			d := all[at]
			if d.parent == "" || d.parent == at || d.parent == "TARGETDIR" || d.name == "." {
				parts = append(parts, at)
				break
			}
			if parts = append(parts, d.name); depth > len(all) {
				return nil, fmt.Errorf("directory %.80q is in itself", key)
			}
			at = d.parent
		}
		slices.Reverse(parts)
		paths[key] = path.Join(parts...)
	}
	return paths, nil
}

// long is the second of two names, or the only one.
func long(name string) string {
	if _, l, ok := strings.Cut(name, "|"); ok {
		return l
	}
	return name
}

func (p *Package) files() error {
	dirs, err := p.directories()
	if err != nil {
		return err
	}
	in := map[string]string{} // paths, by component
	components, err := p.get("Component", "Component", "Directory_")
	if err != nil {
		return err
	}
	for _, row := range components {
		in[row[0].Text] = dirs[row[1].Text]
	}
	private := map[string]bool{}
	locks, err := p.get("MsiLockPermissionsEx", "LockObject", "Table")
	if err != nil {
		return err
	}
	for _, row := range locks {
		if row[1].Text == "File" {
			private[row[0].Text] = true
		}
	}
	sums := map[string][]byte{}
	hashes, err := p.get("MsiFileHash", "File_", "HashPart1", "HashPart2", "HashPart3", "HashPart4")
	if err != nil {
		return err
	}
	for _, row := range hashes {
		var sum []byte
		for _, part := range row[1:] {
			sum = binary.LittleEndian.AppendUint32(sum, uint32(part.Number))
		}
		sums[row[0].Text] = sum
	}
	rows, err := p.get("File", "File", "Component_", "FileName", "FileSize", "Sequence")
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b []Value) int { return a[4].Number - b[4].Number })
	media, err := p.get("Media", "DiskId", "LastSequence", "Cabinet")
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i, row := range rows {
		key, dir, size, number := row[0].Text, in[row[1].Text], row[3].Number, row[4].Number
		if i > 0 && number == rows[i-1][4].Number || number < 1 || size < 0 {
			return fmt.Errorf("file %.80q: its number or size is wrong", key)
		}
		m := slices.IndexFunc(media, func(m []Value) bool { return number <= m[1].Number })
		if m < 0 || !strings.HasPrefix(media[m][2].Text, "#") {
			return fmt.Errorf("file %.80q is in no cabinet of the package", key)
		}
		short, _, both := strings.Cut(row[2].Text, "|")
		f := File{Path: dir + "/" + long(row[2].Text), Size: int64(size), Private: private[key], MD5: sums[key],
			key:     key,
			cabinet: media[m][2].Text[1:]}
		for _, name := range []string{f.Path, dir + "/" + short} {
			fold := strings.ToLower(name)
			if taken[fold] {
				return fmt.Errorf("%.200q is there twice", name)
			}
			if taken[fold] = true; !both {
				break
			}
		}
		p.Files = append(p.Files, f)
	}
	for i := range media {
		if i > 0 && media[i][1].Number < media[i-1][1].Number {
			return errors.New("table Media is not in the order of its files")
		}
	}
	return nil
}

func (p *Package) folders() error {
	dirs, err := p.directories()
	if err != nil {
		return err
	}
	rows, err := p.get("CreateFolder", "Directory_")
	for _, row := range rows {
		p.Folders = append(p.Folders, dirs[row[0].Text])
	}
	slices.Sort(p.Folders)
	p.Folders = slices.Compact(p.Folders)
	return err
}

func (p *Package) services() error {
	programs := map[string]string{} // by component
	components, err := p.get("Component", "Component", "KeyPath")
	if err != nil {
		return err
	}
	paths := map[string]string{}
	for _, f := range p.Files {
		paths[f.key] = f.Path
	}
	for _, row := range components {
		programs[row[0].Text] = paths[row[1].Text]
	}
	events := map[string]int{}
	controls, err := p.get("ServiceControl", "Name", "Event")
	if err != nil {
		return err
	}
	for _, row := range controls {
		events[row[0].Text] |= row[1].Number
	}
	rows, err := p.get("ServiceInstall", "Name", "Component_", "Arguments")
	if err != nil {
		return err
	}
	for _, row := range rows {
		s := Service{Name: row[0].Text, Program: programs[row[1].Text], Arguments: row[2].Text,
			Start: events[row[0].Text]&1 != 0}
		if s.Program == "" {
			return fmt.Errorf("service %.80q has no program", s.Name)
		}
		p.Services = append(p.Services, s)
	}
	return nil
}

// Extract goes through all files in their order, and hands out what each holds, which is checked as it is read: read
// must read all of it.
func (p *Package) Extract(read func(f File, content io.Reader) error) error {
	cabinets := map[string]bool{}
	for i := 0; i < len(p.Files); {
		name := p.Files[i].cabinet
		s, ok := p.c.streams[name]
		if !ok || cabinets[name] {
			return fmt.Errorf("cabinet %.80q is not there, or its files are not one behind another", name)
		}
		cabinets[name] = true
		n, err := p.cabinet(s, p.Files[i:], read)
		if err != nil {
			return fmt.Errorf("cabinet %.80q: %w", name, err)
		}
		i += n
	}
	for name := range p.c.streams {
		if !cabinets[name] && !strings.HasPrefix(name, "!") && !strings.HasPrefix(name, "\x05") && !p.owned(name) {
			return fmt.Errorf("stream %.80q belongs to nothing", name)
		}
	}
	return nil
}

// owned reports whether a stream is a value of some table, whose name it begins with.
func (p *Package) owned(name string) bool {
	table, _, ok := strings.Cut(name, ".")
	return ok && p.db.tables[table] != nil
}

func (p *Package) cabinet(s stream, files []File, read func(File, io.Reader) error) (n int, err error) {
	c, err := openCabinet(s)
	if err != nil {
		return 0, err
	}
	if len(c.members) > len(files) {
		return 0, errors.New("it has files that no table has")
	}
	for i, m := range c.members {
		f := files[i]
		if f.key != m.name || f.Size != m.size || f.cabinet != files[0].cabinet {
			return 0, fmt.Errorf("its file %.80q of %d bytes is not that of the table", m.name, m.size)
		}
		sum := md5.New()
		content := &io.LimitedReader{R: io.TeeReader(c, sum), N: m.size}
		if err := read(f, content); err != nil {
			return 0, fmt.Errorf("file %.200q: %w", f.Path, err)
		}
		if content.N > 0 {
			return 0, fmt.Errorf("file %.200q is cut short", f.Path)
		}
		if f.MD5 != nil && string(sum.Sum(nil)) != string(f.MD5) {
			return 0, fmt.Errorf("file %.200q has another digest than its row of MsiFileHash", f.Path)
		}
	}
	return len(c.members), c.end()
}
