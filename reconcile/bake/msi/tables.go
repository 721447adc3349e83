package msi

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"bakehouse/reconcile/bake/msi/msidb"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

const (
	feature = "Bakehouse"
	// found are the products that this one replaces; the name is public, or the installation's second half would not
	// know it.
	found = "BAKEHOUSE_FOUND"

	maxFiles = 32000 // File.Sequence has 15 bits
)

// The access that files and folders have, in the language of security descriptors: the system's and administrators',
// and where others may read, theirs.
const (
	forAdministrators = "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	forReaders        = forAdministrators + "(A;OICI;0x1200a9;;;BU)"
	fileForAdmins     = "O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)"
)

// tables are in the words of Windows Installer's database reference; columns have its types.
func (p *Package) tables(codes Codes) ([]msidb.Table, error) {
	pl := newPlaces(p)
	files, hashes, media, locks, err := p.files(pl)
	if err != nil {
		return nil, err
	}
	folders, err := p.folders(pl, &locks)
	if err != nil {
		return nil, err
	}
	installs, controls, err := p.services(pl)
	if err != nil {
		return nil, err
	}
	registry, err := p.registry(pl)
	if err != nil {
		return nil, err
	}
	components, features := pl.rows()
	property := [][]any{
		{"ALLUSERS", "1"}, {"ARPCOMMENTS", p.Version}, {"ARPNOMODIFY", "1"}, {"Manufacturer", ascii(p.Maker)},
		{"ProductCode", codes.Product}, {"ProductLanguage", "1033"}, {"ProductName", ascii(p.Title)},
		{"ProductVersion", productVersion(p.Version)}, {"REBOOT", "ReallySuppress"}, {"REINSTALLMODE", "amus"},
		{"SecureCustomProperties", found}, {"UpgradeCode", codes.Upgrade}}
	const key, null = msidb.Key, msidb.Null
	s, l, i2, i4, l0 := msidb.S, msidb.L, msidb.I2, msidb.I4, msidb.L0
	id := s(72) | key
	tables := []msidb.Table{
		{Name: "Property", Columns: cols("Property", id, "Value", l0), Rows: property},
		{Name: "Directory", Columns: cols("Directory", id, "Directory_Parent", s(72)|null, "DefaultDir", l(255)),
			Rows: pl.dirRows},
		{Name: "Component", Columns: cols("Component", id, "ComponentId", s(38)|null, "Directory_", s(72),
			"Attributes", i2, "Condition", s(255)|null, "KeyPath", s(72)|null), Rows: components},
		{Name: "Feature", Columns: cols("Feature", s(38)|key, "Feature_Parent", s(38)|null, "Title", l(64)|null,
			"Description", l(255)|null, "Display", i2|null, "Level", i2, "Directory_", s(72)|null, "Attributes", i2),
			Rows: [][]any{{feature, nil, feature, nil, 0, 1, nil, 0}}},
		{Name: "FeatureComponents", Columns: cols("Feature_", s(38)|key, "Component_", id), Rows: features},
		{Name: "File", Columns: cols("File", id, "Component_", s(72), "FileName", l(255), "FileSize", i4, "Version",
			s(72)|null, "Language", s(20)|null, "Attributes", i2|null, "Sequence", i2), Rows: files,
			Own: p.ofOwn(map[int]bool{3: true})},
		{Name: "MsiFileHash", Columns: cols("File_", id, "Options", i2, "HashPart1", i4, "HashPart2", i4,
			"HashPart3", i4, "HashPart4", i4), Rows: hashes,
			Own: p.ofOwn(map[int]bool{2: true, 3: true, 4: true, 5: true})},
		{Name: "Media", Columns: cols("DiskId", i2|key, "LastSequence", i2, "DiskPrompt", l(64)|null, "Cabinet",
			s(255)|null, "VolumeLabel", s(32)|null, "Source", s(72)|null), Rows: media},
		{Name: "Upgrade", Columns: cols("UpgradeCode", s(38)|key, "VersionMin", s(20)|null|key, "VersionMax",
			s(20)|null|key, "Language", s(255)|null|key, "Attributes", i4|key, "Remove", s(255)|null,
			"ActionProperty", s(72)),
			// From 0.0.0 on, that included, with no end: any other bound leaves products behind.
			Rows: [][]any{{codes.Upgrade, "0.0.0", nil, nil, 257, nil, found}}},
		{Name: "CreateFolder", Columns: cols("Directory_", id, "Component_", id), Rows: folders},
		{Name: "MsiLockPermissionsEx", Columns: cols("MsiLockPermissionsEx", id, "LockObject", s(72), "Table", s(32),
			"SDDLText", s(0), "Condition", s(255)|null), Rows: locks},
		{Name: "Registry", Columns: cols("Registry", id, "Root", i2, "Key", l(255), "Name", l(255)|null, "Value",
			l0|null, "Component_", s(72)), Rows: registry},
		{Name: "ServiceInstall", Columns: cols("ServiceInstall", id, "Name", s(255), "DisplayName", l(255)|null,
			"ServiceType", i4, "StartType", i4, "ErrorControl", i4, "LoadOrderGroup", s(255)|null, "Dependencies",
			s(255)|null, "StartName", s(255)|null, "Password", s(255)|null, "Arguments", s(255)|null, "Component_",
			s(72), "Description", l(255)|null), Rows: installs},
		{Name: "ServiceControl", Columns: cols("ServiceControl", id, "Name", l(255), "Event", i2, "Arguments",
			s(255)|null, "Wait", i2|null, "Component_", s(72)), Rows: controls},
	}
	tables = slices.DeleteFunc(tables, func(t msidb.Table) bool { return len(t.Rows) == 0 })
	for _, q := range sequences {
		var rows [][]any
		for _, a := range strings.Fields(q.actions) {
			name, number, _ := strings.Cut(a, ":")
			n := 0
			if _, err := fmt.Sscan(number, &n); err != nil {
				return nil, err
			}
			rows = append(rows, []any{name, nil, n})
		}
		tables = append(tables, msidb.Table{Name: q.table, Rows: rows,
			Columns: cols("Action", id, "Condition", s(255)|null, "Sequence", i2|null)})
	}
	return tables, nil
}

// sequences are the actions in the places that they have by custom. What the package replaces is removed at the
// beginning of the transaction: what both have is then written anew, whatever its version.
var sequences = []struct{ table, actions string }{
	{"InstallExecuteSequence", `FindRelatedProducts:25 ValidateProductID:700 CostInitialize:800 FileCost:900
		CostFinalize:1000 MigrateFeatureStates:1200 InstallValidate:1400 InstallInitialize:1500
		RemoveExistingProducts:1501 ProcessComponents:1600 UnpublishFeatures:1800 StopServices:1900
		DeleteServices:2000 RemoveRegistryValues:2600 RemoveFiles:3500 RemoveFolders:3600 CreateFolders:3700
		InstallFiles:4000 WriteRegistryValues:5000 InstallServices:5800 StartServices:5900 RegisterUser:6000
		RegisterProduct:6100 PublishFeatures:6300 PublishProduct:6400 InstallFinalize:6600`},
	{"InstallUISequence", `FindRelatedProducts:25 ValidateProductID:700 CostInitialize:800 FileCost:900
		CostFinalize:1000 MigrateFeatureStates:1200 ExecuteAction:1300`},
	{"AdminExecuteSequence", `CostInitialize:800 FileCost:900 CostFinalize:1000 InstallValidate:1400
		InstallInitialize:1500 InstallAdminPackage:3900 InstallFiles:4000 InstallFinalize:6600`},
	{"AdminUISequence", `CostInitialize:800 FileCost:900 CostFinalize:1000 ExecuteAction:1300`},
}

func cols(of ...any) (out []msidb.Column) {
	for i := 0; i < len(of); i += 2 {
		out = append(out, msidb.Column{Name: of[i].(string), Kind: of[i+1].(msidb.Kind)})
	}
	return out
}

var numbers = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.([0-9]+)`)

// productVersion is three numbers at the beginning of a version, which nothing depends on; zeros if there are none that
// Windows Installer takes.
func productVersion(version string) string {
	m := numbers.FindStringSubmatch(version)
	if m == nil {
		return "0.0.0"
	}
	var n [3]int
	for i, limit := range []int{255, 255, 65535} {
		if _, err := fmt.Sscan(m[i+1], &n[i]); err != nil || n[i] > limit {
			return "0.0.0"
		}
	}
	return fmt.Sprintf("%d.%d.%d", n[0], n[1], n[2])
}

// ofOwn tells the columns of the package's own files.
func (p *Package) ofOwn(columns map[int]bool) func([]any, int) bool {
	own := map[string]bool{}
	if p.Own != nil {
		for _, f := range p.Own.Files {
			own[Key(f.Path)] = true
		}
	}
	return func(row []any, column int) bool { return columns[column] && own[row[0].(string)] }
}

// files are the rows of File, MsiFileHash, Media and MsiLockPermissionsEx.
func (p *Package) files(pl *places) (files, hashes, media, locks [][]any, err error) {
	sequence := 0
	for i, c := range p.cabinets() {
		for _, f := range c.Files {
			if sequence++; sequence > maxFiles {
				return nil, nil, nil, nil, fmt.Errorf("more than %d files", maxFiles)
			}
			if f.Size >= 1<<31 {
				return nil, nil, nil, nil, fmt.Errorf("file %s has 2 GiB or more", f.Path)
			}
			in, err := pl.ofFile(f)
			if err != nil {
				return nil, nil, nil, nil, fmt.Errorf("plugin %s: file %s: %w", f.Plugin, f.Path, err)
			}
			name, err := pl.name(path.Dir(f.Path), path.Base(f.Path))
			if err != nil {
				return nil, nil, nil, nil, fmt.Errorf("plugin %s: %w", f.Plugin, err)
			}
			const vital = 512
			key := Key(f.Path)
			files = append(files, []any{key, in.key, name, int(f.Size), nil, nil, vital, sequence})
			row := []any{key, 0}
			for k := range 4 {
				row = append(row, int(int32(binary.LittleEndian.Uint32(f.MD5[4*k:]))))
			}
			hashes = append(hashes, row)
			if f.Private {
				locks = append(locks, []any{"l" + key[1:], key, "File", fileForAdmins, nil})
			}
		}
		media = append(media, []any{i + 1, sequence, nil, "#" + p.streamName(i), nil, nil})
	}
	return files, hashes, media, locks, nil
}

// folders are the rows of CreateFolder. Those of the updater are closed to others: whoever may make a folder in
// ProgramData, which is everybody, may have made them before.
func (p *Package) folders(pl *places, locks *[][]any) (rows [][]any, err error) {
	all := slices.Clone(p.Folders)
	if p.Updater {
		all = append(all, Folder{fleet.UpdaterPlugin, path.Dir(schema.ConfigFile("windows"))},
			Folder{fleet.UpdaterPlugin, schema.StateDir("windows")})
	}
	for _, f := range all {
		c, err := pl.component(f.Plugin, f.Path, "")
		if err != nil {
			return nil, fmt.Errorf("plugin %s: directory %s: %w", f.Plugin, f.Path, err)
		}
		rows = append(rows, []any{c.dir, c.key})
		access := ""
		switch {
		case f.Path == path.Dir(schema.ConfigFile("windows")):
			access = forReaders
		case f.Path == schema.StateDir("windows"):
			access = forAdministrators
		}
		if access != "" {
			*locks = append(*locks, []any{"l" + c.dir[1:], c.dir, "CreateFolder", access, nil})
		}
	}
	return rows, nil
}

// services are the rows of ServiceInstall and ServiceControl.
func (p *Package) services(pl *places) (installs, controls [][]any, err error) {
	for _, s := range p.Services {
		i := slices.IndexFunc(pl.order, func(c *component) bool { return c.keyPath == Key(s.Program) })
		if i < 0 {
			return nil, nil, fmt.Errorf("plugin %s: service %s: %s is not a file of the package", s.Plugin, s.Name,
				s.Program)
		}
		const (
			ownProcess, automatic, onDemand = 16, 2, 3
			vital                           = 0x8001 // its failure to be installed is one of the installation
			start, stop, stopLater, delete  = 0x1, 0x2, 0x20, 0x80
		)
		startType, event, wait := onDemand, stop|stopLater|delete, 0
		if s.Start {
			startType, event = automatic, event|start
		}
		if s.Wait {
			wait = 1
		}
		var arguments any
		if s.Arguments != "" {
			arguments = s.Arguments
		}
		key, in := "v"+short("service", s.Name), pl.order[i].key
		installs = append(installs, []any{key, s.Name, s.Name, ownProcess, startType, vital, nil, nil, nil, nil,
			arguments, in, cmp.Or(ascii(s.Description), s.Name)})
		controls = append(controls, []any{key, s.Name, event, nil, wait, in})
	}
	return installs, controls, nil
}

// registry tells which package is there, and where the updater's messages in the event log are from.
func (p *Package) registry(pl *places) ([][]any, error) {
	const machine = 2
	c, err := pl.component("", schema.Prefix("windows"), "registry")
	if err != nil {
		return nil, err
	}
	const viaRegistry = 4
	c.attributes, c.keyPath = c.attributes|viaRegistry, "rRecipe"
	software := `SOFTWARE\Bakehouse`
	rows := [][]any{{"rRecipe", machine, software, "Recipe", string(p.Recipe), c.key},
		{"rVersion", machine, software, "Version", p.Version, c.key}}
	if p.Updater {
		source := `SYSTEM\CurrentControlSet\Services\EventLog\Application\Bakehouse`
		rows = append(rows, []any{"rMessages", machine, source, "EventMessageFile",
			`#%%SystemRoot%\System32\EventCreate.exe`, c.key},
			[]any{"rTypes", machine, source, "TypesSupported", "#7", c.key})
	}
	return rows, nil
}
