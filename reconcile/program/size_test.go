package program

import (
	"bytes"
	"debug/elf"
	"testing"
)

// mostBytes is the budget on Linux. Every host downloads and keeps the program, so its size is a promise. mostElsewhere
// is that of other systems, on some of which the same code is longer: linux/amd64 has 9.5 MB in November 2026.
const (
	mostBytes     = 10_000_000
	mostElsewhere = 10_500_000
)

// It must run where no C library is, too.
func TestTheHostProgramKeepsToItsBudgetAndIsStatic(t *testing.T) {
	for _, platform := range Platforms {
		t.Run(platform.String(), func(t *testing.T) {
			b, err := Places{}.build(t.Context(), "../..", platform, "1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes", len(b))
			if len(b) > mostBytes {
				t.Errorf("%d bytes, %d too many", len(b), len(b)-mostBytes)
			}
			f, err := elf.NewFile(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if libs, err := f.ImportedLibraries(); err == nil && len(libs) > 0 {
				t.Errorf("it needs %q", libs)
			}
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP {
					t.Error("it needs a dynamic linker")
				}
			}
			if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
				t.Error("it is not stripped")
			}
			if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[platform.Arch]; f.Machine != want {
				t.Errorf("it is for %s, not %s", f.Machine, want)
			}
		})
	}
}
