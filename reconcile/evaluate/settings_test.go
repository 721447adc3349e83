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
