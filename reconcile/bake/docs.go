package bake

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"bakehouse/schema"
)

//go:embed docs/copyright
var copyright string

//go:embed docs/linked
var linked string

//go:embed docs/LICENSES
var licences []byte

//go:embed docs/bakehouse-agent.8
var manual []byte

// docs is what a package says about itself. It is the baker's and not a plugin's, for a package without the updater has a
// copyright, too; so it is not part of a recipe, but of the bake version.
func docs(l *layout) []*file {
	if l.recipe.Platform.OS == "windows" {
		return windowsDocs(l)
	}
	share := schema.Prefix(l.recipe.Platform.OS) + "/share/"
	dir := share + "doc/" + l.name + "/"
	of := func(path string, content []byte) *file { return inline(madeHere, path, content) }
	text := copyright
	var files []*file
	if l.program {
		text += linked
		files = append(files, of(share+"man/man8/bakehouse-agent.8.gz", packedDocs().manual), of(dir+"LICENSES.gz", packedDocs().licences))
	}
	return append(files, of(dir+"changelog.gz", packedChangelog(changelog(l))), of(dir+"copyright", []byte(text)))
}

func windowsDocs(l *layout) []*file {
	of := func(name, text string) *file {
		return inline(madeHere, schema.Prefix("windows")+"/"+name, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	}
	if l.program {
		return []*file{of("COPYRIGHT.txt", copyright+linked), of("LICENSES.txt", string(licences))}
	}
	return []*file{of("COPYRIGHT.txt", copyright)}
}

// changelogs are those of a few fleets and host programs, packed, by their text.
var changelogs sync.Map

func packedChangelog(text string) []byte {
	if b, ok := changelogs.Load(text); ok {
		return b.([]byte)
	}
	b := gzipped([]byte(text))
	changelogs.Store(text, b)
	return b
}

// changelog is as Debian wants it. What changed for a host is in the fleet's repo.
func changelog(l *layout) string {
	return fmt.Sprintf("%s (%s) stable; urgency=medium\n\n  * Baked with host program %s.\n\n -- %s  %s\n",
		l.name, l.programs, l.programs, maintainer(l), epoch.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

// packedDocs does not depend on the recipe.
var packedDocs = sync.OnceValue(func() (p struct{ manual, licences []byte }) {
	p.manual, p.licences = gzipped(manual), gzipped(licences)
	return p
})

// gzipped is with the highest level, as Debian wants it, and without a name and a time.
func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(&out)
	z.ModTime = time.Unix(0, 0) // the zero time is written as one in 2042
	z.Write(b)
	z.Close() // a bytes.Buffer does not fail
	return out.Bytes()
}
