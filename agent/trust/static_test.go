package trust

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// staticRepository is a repository as its files lie on a web server.
type staticRepository string

func (s staticRepository) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(s), "metadata", name))
}

func (s staticRepository) Open(_ context.Context, path string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(s), "targets", filepath.FromSlash(path)))
}

// testdata/pythontuf holds repositories that python-tuf 5.1 made, the reference implementation: root keys of three types
// with a threshold of two and a rotation, a key of a type that is not in the specification, unknown fields and null in
// them, hashes of both kinds, odd role names, terminating and hashed delegations; and one without consistent snapshots,
// with succinct roles. They expire in 2100.
func TestRepositoriesThatAnotherImplementationMade(t *testing.T) {
	for name, targets := range map[string]map[string]string{
		"consistent": {"top.txt": "signed by targets\n", "docs/one.md": "one\n", "docs/de/zwei.md": "zwei\n", "bin/any thing.tgz": "hashed\n"},
		"plain":      {"top.txt": "signed by targets\n", "file0": "file 0\n", "file1": "file 1\n", "file2": "file 2\n", "file3": "file 3\n", "file4": "file 4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			src, dir, out := staticRepository(filepath.Join("testdata", "pythontuf", name)), t.TempDir(), t.TempDir()
			root, err := os.ReadFile(filepath.Join(string(src), "initial_root.json"))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				c, err := openRepository(dir, root, releaseClock, unsynced)
				if err == nil {
					err = c.Refresh(t.Context(), src)
				}
				if err != nil {
					t.Fatal(err)
				}
				for target, content := range targets {
					file, _, err := c.Download(t.Context(), src, target, out)
					if err != nil {
						t.Fatal(err)
					}
					if b, err := os.ReadFile(file); err != nil || string(b) != content {
						t.Errorf("%s: %q, %v", target, b, err)
					}
				}
				if _, _, err := c.Download(t.Context(), src, "docs/missing", out); !errors.Is(err, ErrNoTarget) {
					t.Errorf("a target that is not there: %v", err)
				}
			}
			// Every byte of it counts.
			for _, file := range []string{"2.root.json", "timestamp.json", "5.snapshot.json", "snapshot.json", "3.targets.json", "targets.json", "2.docs%20team%2F%CE%B1.json"} {
				b, err := src.Metadata(t.Context(), file, 0)
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				c, err := openRepository("", root, releaseClock, unsynced)
				if err != nil {
					t.Fatal(err)
				}
				bent := strings.Replace(string(b), `2100-01-01`, `2101-01-01`, 1)
				if bent == string(b) {
					t.Fatalf("%s does not expire in 2100", file)
				}
				err = c.Refresh(t.Context(), bentFile{src, file, bent})
				if err == nil {
					_, err = c.Find(t.Context(), bentFile{src, file, bent}, "docs/one.md")
				}
				if err == nil {
					t.Errorf("%s was altered and taken", file)
				}
			}
		})
	}
}

// bentFile is a source that hands out one file altered.
type bentFile struct {
	staticRepository
	name, content string
}

func (b bentFile) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == b.name {
		return []byte(b.content), nil
	}
	return b.staticRepository.Metadata(ctx, name, limit)
}
