package ready

import (
	"slices"
	"testing"
)

func TestWhatADebNeedsIsReadAsDpkgReadsIt(t *testing.T) {
	for s, want := range map[string][3]string{
		"libc6": {"libc6", "", ""}, " libc6 (>= 2.31) ": {"libc6", ">=", "2.31"}, "python3:any": {"python3", "", ""},
		"a (<<2)": {"a", "<<", "2"}, "mail-transport-agent (= 1:2-3~x)": {"mail-transport-agent", "=", "1:2-3~x"},
		"": {}, "(": {}, "a (": {"a", "", ""},
	} {
		if name, op, version := debRelation(s); [3]string{name, op, version} != want {
			t.Errorf("%q: %q %q %q", s, name, op, version)
		}
	}
	has := installedDebs("installed\ta\t1\tmta, b (= 3)\nconfig-files\tgone\t2\t\ninstalled\tb\t2\t\nbroken\n")
	if !slices.Equal(has["b"], []string{"3", "2"}) || !slices.Equal(has["mta"], []string{""}) || has["gone"] != nil {
		t.Errorf("%q", has)
	}
}
