package tree

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"bakehouse/schema"
)

// The reference entries of certificate-transparency's tests, and their roots by the number of leaves.
func TestRootIsThatOfRFC6962(t *testing.T) {
	var leaves []schema.Digest
	roots := map[int]string{
		0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	for n, entry := range []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
		"606162636465666768696a6b6c6d6e6f"} {
		if got := root(leaves).Hex(); got != roots[n] {
			t.Errorf("%d leaves: %s, want %s", n, got, roots[n])
		}
		b, err := hex.DecodeString(entry)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf(b))
	}
	if got := root(leaves).Hex(); got != roots[8] {
		t.Errorf("8 leaves: %s, want %s", got, roots[8])
	}
}

func example(n int) Tree {
	var lines []Line
	for i := range n {
		lines = append(lines, Line{fmt.Sprintf("bin-%02x", n-i), int64(i + 1), schema.DigestOf([]byte{byte(i)})})
	}
	return Of(append(lines, Line{"targets", 9, schema.DigestOf(nil)}))
}

func TestATreeSurvivesItsObject(t *testing.T) {
	for n := range 17 {
		want := example(n)
		got, err := Decode(want.Encode(), want.Root())
		if err != nil || len(got) != n+1 {
			t.Fatalf("%d bins: %d lines, %v", n, len(got), err)
		}
		for _, l := range want {
			if g, ok := got.Line(l.Role); !ok || g != l {
				t.Errorf("line of %s: %v, want %v", l.Role, g, l)
			}
		}
		if _, ok := got.Line("bin-xx"); ok {
			t.Error("there is a line of a bin that does not exist")
		}
		root, err := Signed(Sign(nil, want.Root()))
		if err != nil || root != want.Root() {
			t.Errorf("the signed root is read as %s: %v", root, err)
		}
	}
}

func TestAnotherFormOfATreeIsRefused(t *testing.T) {
	ok := example(2)
	text := string(ok.Encode())
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for name, b := range map[string]string{
		"no last line feed": strings.TrimSuffix(text, "\n"),
		"an empty line":     text + "\n",
		"swapped lines":     lines[1] + lines[0] + lines[2] + "\n",
		"a line twice":      lines[0] + text,
		"a line less":       lines[0] + lines[1],
		"a leading zero":    strings.Replace(text, " 1 ", " 01 ", 1),
		"a plus sign":       strings.Replace(text, " 1 ", " +1 ", 1),
		"upper case":        strings.ToUpper(text),
		"two spaces":        strings.Replace(text, " ", "  ", 1),
		"another version":   strings.Replace(text, " 1 ", " 3 ", 1),
		"carriage returns":  strings.ReplaceAll(text, "\n", "\r\n"),
		"nothing":           "",
	} {
		if b == text {
			t.Errorf("%s: unchanged", name)
		}
		if _, err := Decode([]byte(b), ok.Root()); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestASnapshotWithoutATreeIsToldApart(t *testing.T) {
	for name, fields := range map[string]map[string]any{
		"none":       nil,
		"other kind": {"bakehouse": "x"},
		"absent":     {"bakehouse": map[string]any{"other": 1}},
		"short":      {"bakehouse": map[string]any{"tree": "AAAA"}},
		"hex":        {"bakehouse": map[string]any{"tree": schema.DigestOf(nil).Hex()}},
	} {
		if _, err := Signed(fields); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(example(3).Encode())
	f.Add([]byte("targets 1 " + strings.Repeat("0", 64) + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var lines Tree
		for _, text := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
			l, err := parse(text)
			if err != nil {
				return
			}
			lines = append(lines, l)
		}
		got, err := Decode(b, lines.Root())
		if err == nil && string(got.Encode()) != string(b) {
			t.Fatalf("%q was read as %q", b, got.Encode())
		}
	})
}
