// Package msi makes Windows Installer packages: the tables that say what is installed, and the files in cabinets.
//
// Each group of files that packages share is a cabinet of its own, at the front of the compound file; what only one
// package has is a small cabinet at its end. Everything between depends on names and sizes alone (package cfb), so that
// packages with the same plugins differ in a kilobyte or two. An update of any package by any other, newer or older, is
// one major upgrade: the product before is removed first, inside the same transaction. There are no custom actions:
// what tables cannot say is the host program's.
package msi

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"bakehouse/reconcile/bake/msi/cfb"
	"bakehouse/reconcile/bake/msi/msidb"
	"bakehouse/schema"
)

// File is a regular file of a package.
type File struct {
	Plugin, Path string
	Size         int64
	MD5          [md5.Size]byte
	Private      bool // only the system and administrators may read it
}

// Cabinet is files that are compressed together.
type Cabinet struct {
	Size   int64 // of the cabinet, in bytes
	Digest schema.Digest
	Files  []File
}

// Service is a Windows service. Arguments are Formatted: a folder's name in brackets stands for its path, with a
// backslash at the end.
type Service struct {
	Plugin, Name, Description string
	Program, Arguments        string // Program is one of the files
	Start                     bool   // at installation and at boot
	Wait                      bool   // the installation fails if it does not start
}

// Folder is one that is there even if it is empty.
type Folder struct{ Plugin, Path string }

// Package is all that goes into one.
type Package struct {
	Name, Title, Maker, About string // of which Name decides what a package updates
	Version                   string // as people know it
	Recipe                    schema.RecipeID
	Platform                  schema.Platform
	Bake                      int
	Updater                   bool // the updater's settings are in it
	Shared                    []Cabinet
	Own                       *Cabinet
	OwnBytes                  []byte
	Folders                   []Folder
	Services                  []Service
}

// OwnStep and SharedLeast are what cabinets are padded to, in bytes: an own one so that another setting makes the same
// directory, a shared one so that it has sectors of its own.
const (
	OwnStep     = 512
	SharedLeast = cfb.Cutoff
)

// class is the id of installer packages at the root of a compound file, {000C1084-0000-0000-C000-000000000046}.
var class = [16]byte{0x84, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}

// Key is a file's key in the table File and its name in the cabinet.
func Key(path string) string { return "f" + short("file", strings.ToLower(path)) }

func short(words ...string) string { return hex.EncodeToString(hash(words...))[:16] }

func hash(words ...string) []byte {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%q\n", w)
	}
	return h.Sum(nil)
}

// guid is a UUID of version 8 (RFC 9562) over words.
func guid(words ...string) string {
	b := hash(words...)[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("{%x-%x-%x-%x-%x}", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// Codes are what Windows Installer knows a package by. The product code and that of the package tell any two packages
// apart that differ; the upgrade code is of all packages of a name.
type Codes struct{ Product, Package, Upgrade string }

// Codes of p follow from its content.
func (p *Package) Codes() Codes {
	words := []string{p.Name, p.Platform.String(), p.Version, string(p.Recipe), fmt.Sprint(p.Bake)}
	for _, c := range p.cabinets() {
		words = append(words, c.Digest.String())
	}
	for _, said := range []any{p.Title, p.Maker, p.Updater, p.Folders, p.Services} {
		words = append(words, fmt.Sprintf("%q", said))
	}
	return Codes{Product: guid(append(words, "product")...), Package: guid(append(words, "package")...),
		Upgrade: guid(p.Name, "upgrade")}
}

func (p *Package) cabinets() []Cabinet {
	all := slices.Clone(p.Shared)
	if p.Own != nil {
		all = append(all, *p.Own)
	}
	return all
}

// names of the cabinets' streams.
func (p *Package) streamName(i int) string {
	if i < len(p.Shared) {
		return "s" + p.Shared[i].Digest.Hex()[:16]
	}
	return "own"
}

// epoch is 2000-01-01 in units of 100 ns since 1601.
const epoch = 125911584000000000

// Build makes the compound file around the shared cabinets, which stand behind its header in their order, in whole
// sectors.
func (p *Package) Build() (*cfb.File, error) {
	tables, err := p.tables(p.Codes())
	if err != nil {
		return nil, err
	}
	streams, err := p.streams(tables)
	if err != nil {
		return nil, err
	}
	return p.layout(streams)
}

// streams are all but the shared cabinets.
func (p *Package) streams(tables []msidb.Table) ([]cfb.Stream, error) {
	codes := p.Codes()
	streams, err := msidb.Streams(tables, []string{p.Version, string(p.Recipe), codes.Product})
	if err != nil {
		return nil, err
	}
	template, ok := templates[p.Platform.Arch]
	if !ok || p.Platform.OS != "windows" {
		return nil, fmt.Errorf("format msi is not made for %s", p.Platform)
	}
	summary, err := msidb.Summary{Title: "Installation Database", Subject: ascii(p.Title), Author: ascii(p.Maker),
		Comments: "Baked by Bakehouse.", Template: template, PackageCode: codes.Package, Time: epoch}.Stream()
	if err != nil {
		return nil, err
	}
	streams = append(streams, summary)
	if p.Own != nil {
		streams = append(streams, cfb.Stream{Name: msidb.StreamName("own"), Data: p.OwnBytes,
			Own: []cfb.Span{{From: 0, To: len(p.OwnBytes)}}})
	}
	return streams, nil
}

func (p *Package) layout(streams []cfb.Stream) (*cfb.File, error) {
	var shared []cfb.Shared
	for i, c := range p.Shared {
		shared = append(shared, cfb.Shared{Name: msidb.StreamName(p.streamName(i)), Size: c.Size})
	}
	return cfb.Layout(class, shared, streams)
}

// templates are the summary's words for architectures.
var templates = map[string]string{"amd64": "x64;1033", "386": "Intel;1033", "arm64": "Arm64;1033"}

// ascii leaves out of a text what a codepage would decide on.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, s)
}
