package command

import "testing"

func TestModesAreExplainedInOctal(t *testing.T) {
	got := brief([]byte(`{"/etc/motd":{"content":"x","mode":420}}`))
	if want := `{"/etc/motd":{"content":"x","mode":0o644}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
