package contents

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
)

func TestWhatIsNoPackageIsAnErrorAndNoPanic(t *testing.T) {
	for _, format := range []schema.Format{schema.Tgz, schema.Deb, schema.Rpm, schema.Msi} {
		for _, text := range []string{"", "x", strings.Repeat("\x1f\x8b", 100), "!<arch>\n" + strings.Repeat("9", 60),
			"!<arch>\n" + strings.Repeat("x", 60)} {
			if files, err := List(format, strings.NewReader(text)); err == nil {
				t.Errorf("%s: %.10q lists %v", format, text, files)
			}
		}
	}
	if _, err := List("zip", strings.NewReader("")); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func TestAReadThatFailsIsTold(t *testing.T) {
	broken := errors.New("broken")
	for _, format := range []schema.Format{schema.Tgz, schema.Deb, schema.Rpm, schema.Msi} {
		if _, err := List(format, io.MultiReader(strings.NewReader("!<arch>\n"), failing{broken})); err == nil {
			t.Errorf("%s: no error", format)
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func TestDifferencesAreToldFileByFile(t *testing.T) {
	file := func(path, content string, mode os.FileMode) File {
		return File{Path: path, Mode: mode, Owner: "root:root", Size: int64(len(content)),
			SHA256: schema.DigestOf([]byte(content))}
	}
	a := []File{file("/a", "one", 0o644), file("/b", "two", 0o644), file("/c", "three", 0o755), file("/e", "", 0o600)}
	b := []File{file("/b", "TWO!", 0o644), file("/c", "three", 0o700), file("/d", "new", 0o644), file("/e", "", 0o600)}
	got := Difference(a, b)
	if len(got) != 4 || !strings.HasPrefix(got[0], "only published: /a -rw-r--r--, 3 bytes, sha256:") ||
		!strings.HasPrefix(got[1], "/b: size 3 published, 4 baked; digest sha256:") ||
		got[2] != "/c: mode -rwxr-xr-x published, -rwx------ baked" ||
		!strings.HasPrefix(got[3], "only baked: /d ") {
		t.Errorf("%q", got)
	}
	if d := Difference(a, slices.Clone(a)); d != nil {
		t.Errorf("equal, but %q", d)
	}
}

func FuzzList(f *testing.F) {
	f.Add(uint8(0), []byte("\x1f\x8b"))
	f.Add(uint8(1), []byte("!<arch>\ndata.tar.gz     0           0     0     100644  4         `\nabcd"))
	f.Add(uint8(2), append(bytes.Repeat([]byte{0}, 96), 0x8e, 0xad, 0xe8, 1))
	f.Fuzz(func(t *testing.T, format uint8, b []byte) {
		_, _ = List([]schema.Format{schema.Tgz, schema.Deb, schema.Rpm, schema.Pkg}[format%4], bytes.NewReader(b))
	})
}
