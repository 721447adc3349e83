package msi

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/bake/msi/cab"
	"bakehouse/reconcile/bake/msi/cfb"
	"bakehouse/reconcile/bake/msi/msidb"
	"bakehouse/schema"
	read "bakehouse/schema/msi"
)

const programs = "/Program Files/Bakehouse/"

// content is files by path, of a shared cabinet and of the package's own.
type content struct{ shared, own map[string]string }

func example() content {
	return content{
		shared: map[string]string{programs + "bakehouse-agent.exe": strings.Repeat("program", 9000),
			programs + "plugins/p/a long name.txt": "text", programs + "plugins/p/p.exe": noise(70_000)},
		own: map[string]string{"/ProgramData/Bakehouse/agent.json": "{}", "/ProgramData/p/p.yml": "a: 1\n"},
	}
}

// noise is bytes that nobody compresses.
func noise(n int) string {
	var b []byte
	for i := 0; len(b) < n; i++ {
		h := schema.DigestOf(fmt.Append(nil, i))
		b = append(b, h[:]...)
	}
	return string(b[:n])
}

func cabinetOf(t testing.TB, files map[string]string, s cab.Sizes) ([]byte, Cabinet) {
	var members []cab.File
	var c Cabinet
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range files {
			if !yield(name) {
				return
			}
		}
	}) {
		members = append(members, cab.File{Name: Key(name), Write: func(w io.Writer) error {
			_, err := io.WriteString(w, files[name])
			return err
		}})
		c.Files = append(c.Files, File{Plugin: "p", Path: name, Size: int64(len(files[name])),
			MD5: md5.Sum([]byte(files[name])), Private: strings.HasSuffix(name, ".yml")})
	}
	var b bytes.Buffer
	if err := cab.Write(t.Context(), &b, members, s, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	c.Size, c.Digest = int64(b.Len()), schema.DigestOf(b.Bytes())
	return b.Bytes(), c
}

func packageOf(t testing.TB, c content) (p *Package, shared []byte) {
	p = &Package{Name: "bakehouse-agent", Title: "example", Maker: "Nobody", Version: "0.1.0+0123456789abcdef",
		Recipe: "0123456789abcdef", Platform: schema.Platform{OS: "windows", Arch: "amd64"}, Bake: 1, Updater: true,
		Services: []Service{{Plugin: "p", Name: "agent", Program: programs + "bakehouse-agent.exe",
			Arguments: "run --service", Start: true}},
		Folders: []Folder{{"p", "/ProgramData/p/empty"}}}
	shared, one := cabinetOf(t, c.shared, cab.Sizes{Least: SharedLeast, Step: cfb.SectorSize})
	p.Shared = []Cabinet{one}
	own, two := cabinetOf(t, c.own, cab.Sizes{Least: OwnStep, Step: OwnStep})
	p.OwnBytes, p.Own = own, &two
	return p, shared
}

// whole is the bytes of a package.
func whole(t testing.TB, p *Package, shared ...[]byte) []byte {
	t.Helper()
	f, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(f.Header, slices.Concat(shared...), f.Table, f.Common, f.Own)
}

// extract is what a strict reader finds: files by path.
func extract(b []byte) (p *read.Package, files map[string]string, err error) {
	if p, err = read.Open(bytes.NewReader(b), int64(len(b))); err != nil {
		return nil, nil, err
	}
	files = map[string]string{}
	err = p.Extract(func(f read.File, r io.Reader) error {
		b, err := io.ReadAll(r)
		files[f.Path] = string(b)
		return err
	})
	return p, files, err
}

func TestAStrictReaderFindsWhatWasWritten(t *testing.T) {
	large := example()
	large.shared[programs+"plugins/large.bin"] = noise(9 << 20) // more than the header lists of the allocation table
	many := example()
	for i := range 3000 {
		many.shared[fmt.Sprintf("%splugins/m/%02d/file number %d", programs, i%20, i)] = fmt.Sprint(i)
	}
	settings := example()
	settings.own["/ProgramData/p/large.json"] = noise(20_000)
	for name, c := range map[string]content{"small": example(), "large": large, "many files": many,
		"large settings": settings} {
		p, shared := packageOf(t, c)
		got, files, err := extract(whole(t, p, shared))
		if err != nil || len(got.Minor) > 0 {
			t.Errorf("%s: %v %v", name, err, got)
			continue
		}
		if len(files) != len(c.shared)+len(c.own) {
			t.Errorf("%s: %d files", name, len(files))
		}
		for _, all := range []map[string]string{c.shared, c.own} {
			for path, text := range all {
				at := strings.NewReplacer("/Program Files/", "ProgramFiles64Folder/", "/ProgramData/",
					"CommonAppDataFolder/").Replace(path)
				if files[at] != text {
					t.Errorf("%s: %s has %d bytes, not %d", name, at, len(files[at]), len(text))
				}
			}
		}
		codes := p.Codes()
		if got.ProductID != codes.Product || got.PackageID != codes.Package || got.UpgradeID != codes.Upgrade ||
			got.Platform != "x64" || got.Has("CustomAction") || len(got.Services) != 1 || !got.Services[0].Start ||
			!slices.Contains(got.Folders, "CommonAppDataFolder/Bakehouse/state") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Codes tell apart what differs, and the upgrade code does not change with anything but the name.
func TestProductsThatDifferHaveOtherCodes(t *testing.T) {
	first, _ := packageOf(t, example())
	seen := map[string]string{}
	for name, change := range map[string]func(*Package){
		"the same":           func(*Package) {},
		"another recipe":     func(p *Package) { p.Recipe = "fedcba9876543210" },
		"another version":    func(p *Package) { p.Version = "0.2.0+0123456789abcdef" },
		"another bake":       func(p *Package) { p.Bake = 2 },
		"another platform":   func(p *Package) { p.Platform.Arch = "386" },
		"another own file":   func(p *Package) { p.Own.Digest = schema.DigestOf([]byte("x")) },
		"another program":    func(p *Package) { p.Shared[0].Digest = schema.DigestOf([]byte("x")) },
		"other arguments":    func(p *Package) { p.Services[0].Arguments = "run" },
		"no updater":         func(p *Package) { p.Updater = false },
		"a folder more":      func(p *Package) { p.Folders = append(p.Folders, Folder{"p", "/ProgramData/q"}) },
		"another maintainer": func(p *Package) { p.Maker = "Somebody" },
	} {
		p, _ := packageOf(t, example())
		change(p)
		c := p.Codes()
		if other, ok := seen[c.Product]; ok || c.Product == c.Package {
			t.Errorf("%s and %s have one code", name, other)
		}
		seen[c.Product], seen[c.Package] = name, name
		if c.Upgrade != first.Codes().Upgrade {
			t.Errorf("%s: another upgrade code", name)
		}
	}
}

// A writer's faults that Windows minds are each found, and those that it does not are told.
func TestEachFaultIsFound(t *testing.T) {
	// swap exchanges two bytes' worth of a column's first rows.
	swap := func(b []byte, width int) {
		for i := range width {
			b[i], b[width+i] = b[width+i], b[i]
		}
	}
	table := func(streams []cfb.Stream, name string) *cfb.Stream {
		i := slices.IndexFunc(streams, func(s cfb.Stream) bool { return slices.Equal(s.Name, msidb.TableName(name)) })
		return &streams[i]
	}
	for name, c := range map[string]struct {
		tables  func([]msidb.Table) []msidb.Table
		streams func([]cfb.Stream)
		file    func([]byte)
		own     func(p *Package)
		want    string
		minor   bool
	}{
		"rows that are not in order": {streams: func(s []cfb.Stream) { swap(table(s, "File").Data, 2) },
			want: "table File: row 2 is not in the order"},
		"tables that are not in order": {streams: func(s []cfb.Stream) { swap(table(s, "_Tables").Data, 2) },
			want: "table _Tables: row 2 is not in the order"},
		"a codepage that is not ANSI": {streams: func(s []cfb.Stream) {
			binary.LittleEndian.PutUint16(table(s, "_StringPool").Data, 65001)
		}, want: "codepage 65001"},
		"a wrong count": {streams: func(s []cfb.Stream) { table(s, "_StringPool").Data[6]++ }, want: "counts the uses",
			minor: true},
		"texts that end early": {streams: func(s []cfb.Stream) {
			d := table(s, "_StringData")
			d.Data, d.Own = d.Data[:len(d.Data)-1], nil
		}, want: "cut short"},
		"half a row": {streams: func(s []cfb.Stream) { d := table(s, "Upgrade"); d.Data = d.Data[1:] },
			want: "no rows"},
		"a component of no directory": {tables: with("Component", 2, "nowhere"),
			want: "table Component: Directory_ \"nowhere\" is not in table Directory"},
		"a file of no component":     {tables: with("File", 1, "nothing"), want: "is not in table Component"},
		"another's key path":         {tables: with("Component", 5, Key("/x")), want: "key path is not its own"},
		"an id that is none":         {tables: with("Component", 1, "{x}"), want: "its id is none"},
		"a file in no cabinet":       {tables: with("Media", 3, nil), want: "is in no cabinet"},
		"an action out of order":     {tables: with("InstallExecuteSequence", 2, 7000), want: "too early"},
		"no property":                {tables: without("Property"), want: "there is no property"},
		"no sequence":                {tables: without("InstallExecuteSequence"), want: "is missing"},
		"a file of another size":     {tables: with("File", 3, 1), want: "is not that of the table"},
		"a file of another digest":   {tables: with("MsiFileHash", 2, 1), want: "has another digest"},
		"a sector used twice":        {file: func(b []byte) { fat(b, 10, 5) }, want: "used twice"},
		"a chain that ends early":    {file: func(b []byte) { fat(b, 3, 0xfffffffe) }, want: "are needed"},
		"a header that is another":   {file: func(b []byte) { b[26] = 4 }, want: "version 3"},
		"a sector of nothing":        {file: func(b []byte) { b[76]++ }, want: "allocation table"},
		"a block that was altered":   {own: func(p *Package) { p.OwnBytes[len(p.OwnBytes)-1] ^= 1 }, want: "checksum"},
		"a cabinet that is too long": {own: func(p *Package) { p.OwnBytes = append(p.OwnBytes, 0) }, want: "and has"},
		"a cabinet that is none": {own: func(p *Package) { p.OwnBytes[0] = 'X' },
			want: "does not begin as a cabinet"},
	} {
		t.Run(name, func(t *testing.T) {
			p, shared := packageOf(t, example())
			if c.own != nil {
				c.own(p)
			}
			tables, err := p.tables(p.Codes())
			if err != nil {
				t.Fatal(err)
			}
			if c.tables != nil {
				tables = c.tables(tables)
			}
			streams, err := p.streams(tables)
			if err != nil {
				t.Fatal(err)
			}
			if c.streams != nil {
				c.streams(streams)
			}
			f, err := p.layout(streams)
			if err != nil {
				t.Fatal(err)
			}
			b := slices.Concat(f.Header, shared, f.Table, f.Common, f.Own)
			if c.file != nil {
				c.file(b)
			}
			got, _, err := extract(b)
			if c.minor {
				if err != nil || len(got.Minor) != 1 || !strings.Contains(got.Minor[0], c.want) {
					t.Errorf("%v %+v", err, got)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// fat sets an entry of the allocation table's first sector.
func fat(b []byte, at int, to uint32) {
	first := int(binary.LittleEndian.Uint32(b[76:]))
	binary.LittleEndian.PutUint32(b[(first+1)*512+4*at:], to)
}

// with gives the last row of a table another value.
func with(table string, column int, value any) func([]msidb.Table) []msidb.Table {
	return func(all []msidb.Table) []msidb.Table {
		for i, t := range all {
			if t.Name == table {
				rows := slices.Clone(t.Rows)
				row := slices.Clone(rows[len(rows)-1])
				if table == "InstallExecuteSequence" {
					row = slices.Clone(rows[0])
					row[column] = value
					rows[0] = row
				} else {
					row[column] = value
					rows[len(rows)-1] = row
				}
				all[i].Rows = rows
			}
		}
		return all
	}
}

func without(table string) func([]msidb.Table) []msidb.Table {
	return func(all []msidb.Table) []msidb.Table {
		return slices.DeleteFunc(all, func(t msidb.Table) bool { return t.Name == table })
	}
}

func TestWhatCannotBeSaidIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Package)
		want   string
	}{
		"a service without a program": {func(p *Package) { p.Services[0].Program = "/x" },
			"is not a file of the package"},
		"names that differ in case": {func(p *Package) {
			f := p.Own.Files[0]
			f.Path = strings.ToUpper(f.Path[:len(f.Path)-5]) + f.Path[len(f.Path)-5:]
			f.Path = "/ProgramData/" + f.Path[len("/ProgramData/"):]
			p.Own.Files = append(p.Own.Files, f)
		}, "upper"},
		"a folder elsewhere": {func(p *Package) { p.Folders[0].Path = "/Windows/x" }, "is not below"},
		"another platform": {func(p *Package) { p.Platform = schema.Platform{OS: "linux", Arch: "amd64"} },
			"is not made for"},
		"a name in other letters": {func(p *Package) { p.Services[0].Arguments = "größe" }, "not ASCII"},
	} {
		p, _ := packageOf(t, example())
		change := c.change
		change(p)
		if _, err := p.Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whatever is read, nothing is read twice, no time is without end, and what passes can be extracted or is an error.
func FuzzAnyBytesAreReadOrRefused(f *testing.F) {
	c := example()
	delete(c.shared, programs+"plugins/p/p.exe")
	p, shared := packageOf(f, c)
	f.Add(whole(f, p, shared))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, files, err := extract(b)
		total := 0
		for _, content := range files {
			total += len(content)
		}
		if err == nil && total > 1100*len(b) { // deflate's most
			t.Errorf("%d bytes of %d", total, len(b))
		}
	})
}

func TestAnyByteThatIsAnotherIsNoticedOrSaysTheSame(t *testing.T) {
	c := example()
	delete(c.shared, programs+"plugins/p/p.exe")
	p, shared := packageOf(t, c)
	b := whole(t, p, shared)
	_, want, err := extract(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 61 {
		b[i] ^= 0x41
		if _, files, err := extract(b); err == nil {
			for name, text := range files {
				if was, ok := want[name]; ok && was != text {
					t.Fatalf("byte %d: %s has another content", i, name)
				}
			}
		}
		b[i] ^= 0x41
	}
}
