package bake_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/contents"
	"bakehouse/schema"
)

// What `package verify` and `reproduce` say of a package is what went into it.
func TestThePackagesOfEveryFormatAreListed(t *testing.T) {
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			st, src := newMemory(), repo{}
			r := example(src, someID, ":9100")
			files, err := contents.List(format, bytes.NewReader(assembled(t, st, baked(t, st, src, made(r, format), format))))
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range r.Outputs {
				for _, want := range o.Files {
					i := slices.IndexFunc(files, func(f contents.File) bool { return f.Path == want.Path })
					if i < 0 {
						t.Errorf("%s is missing", want.Path)
						continue
					}
					if got := files[i]; got.SHA256 != want.SHA256 || got.Mode != want.Mode {
						t.Errorf("%s: %s %v, want %s %v", want.Path, got.SHA256, got.Mode, want.SHA256, want.Mode)
					}
				}
			}
			if i := slices.IndexFunc(files, func(f contents.File) bool { return f.Path == "/usr/bin/" }); format != schema.Rpm && (i < 0 || !files[i].Mode.IsDir()) {
				t.Error("the folder /usr/bin is missing")
			}
			holdsLists(t, files, baked(t, st, src, made(r, format), format))
			if format == schema.Deb && !slices.ContainsFunc(files, func(f contents.File) bool { return f.Path == "DEBIAN/control" }) {
				t.Error("the control file is missing")
			}
		})
	}
}

// holdsLists fails unless the lists that the store is to keep name the very files that the package holds.
func holdsLists(t *testing.T, files []contents.File, b *bake.Baked) {
	t.Helper()
	lists, err := b.Lists(func(schema.Digest) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	own, err := schema.DecodeContents(lists[b.Digest])
	if err != nil {
		t.Fatal(err)
	}
	all := own.Files
	for _, d := range own.Shared {
		c, err := schema.DecodeContents(lists[d])
		if err != nil || len(c.Files) == 0 {
			t.Errorf("segment %s: %v, %v", d, c, err)
			continue
		}
		all = append(all, c.Files...)
	}
	if len(own.Plugins) == 0 || len(own.Shared)+1 != len(lists) {
		t.Errorf("plugins %q, %d segments, %d lists", own.Plugins, len(own.Shared), len(lists))
	}
	for _, e := range all {
		i := slices.IndexFunc(files, func(f contents.File) bool { return f.Path == e.Path })
		if i < 0 || files[i].SHA256 != e.SHA256 || files[i].Size != e.Size || files[i].Mode != e.Mode {
			t.Errorf("listed %+v, the package does not hold it", e)
		}
	}
	for _, f := range files {
		named := slices.ContainsFunc(all, func(e schema.ContentsEntry) bool { return e.Path == f.Path })
		metadata := strings.HasPrefix(f.Path, "DEBIAN/") || !strings.HasPrefix(f.Path, "/")
		if !named && !f.Mode.IsDir() && !metadata {
			t.Errorf("%s is in the package, and not listed", f.Path)
		}
	}
}
