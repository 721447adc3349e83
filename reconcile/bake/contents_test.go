package bake_test

import (
	"bytes"
	"slices"
	"testing"

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
			if format == schema.Deb && !slices.ContainsFunc(files, func(f contents.File) bool { return f.Path == "DEBIAN/control" }) {
				t.Error("the control file is missing")
			}
		})
	}
}
