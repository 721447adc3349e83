package evaluate

import (
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

// What a host would refuse of its settings is refused where the rule has it.
func TestSettingsThatHostsRefuseAreRefusedWhereTheyAreWritten(t *testing.T) {
	t.Parallel()
	f := fleetWithKeys(t)
	for name, c := range map[string]struct{ value, want string }{
		"an interval under a second": {`interval: "100ms"`, "interval: 100ms is out of range: want 1s to 36500d"},
		"an interval of centuries":   {`interval: "99999d"`, "interval: duration"},
		"a certificate that is none": {`certificates: ["ca.pem"]`,
			"certificates: certificate 1: no certificate found"},
		"a port that there is not":    {`server: "https://b.example:70000"`, "server: port 70000 is out of range"},
		"four numbers, but no host":   {`server: "https://10.1.0.300"`, "server: \"10.1.0.300\" is not an IP address"},
		"a proxy that nobody reaches": {`proxy: {mode: "explicit", url: "http://u:geheim@:3128"}`, "proxy: "},
	} {
		_, err := outputOf(t, f, fleet.UpdaterPlugin, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.HasPrefix(err.Error(), "hosts/given.cue:2:") {
			t.Errorf("%s: %v, want hosts/given.cue:2: … %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error prints the password: %v", name, err)
		}
	}
}

func TestAVersionThatNoPackageCanHaveIsRefusedAtThePin(t *testing.T) {
	t.Parallel()
	got := refused(t, repo(map[string]string{"programs.cue": `package fleet
programs: "linux/amd64": {version: "v1.2", sha256: "sha256:` + strings.Repeat("1", 64) + "\"}\n"}))
	if !strings.HasPrefix(got, `programs.cue:2:27: programs: linux/amd64: version "v1.2" of the host program`) {
		t.Error(got)
	}
}

func TestAModeInDecimalIsRefusedWithTheOneThatIsMeant(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"440": "4:41: mode: 440 is written in decimal, and is 0o670\n\thint: modes are octal, as chmod has them: " +
			"write 0o440, " +
			"or 0o670 if that is meant",
		"493":   "mode: 493 is written in decimal, and is 0o755\n\thint: modes are octal: write 0o755",
		"644":   "write 0o644",
		"0o440": "", "0": "", "0x120": "",
	} {
		fsys := repo(map[string]string{"hosts/m/r.cue": "package m\n\nrules: files: [{value: files: {\n" +
			"	\"/etc/agent/key\": {content: \"k\", mode: " + mode + "}\n}}]\n"})
		if want == "" {
			loaded(t, fsys)
			continue
		}
		if got := refused(t, fsys); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", mode, got, want)
		}
	}
}
