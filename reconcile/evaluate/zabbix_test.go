package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

func fleetWithZabbix(t *testing.T) *Repo {
	return loaded(t, repo(map[string]string{
		"hosts/r.cue":                            "package hosts\nrules: zabbix_agent2: [{value: {}}]\n",
		"packages/zabbix-agent2-linux-amd64.deb": tarOf(t, "./usr/sbin/zabbix_agent2", "the agent"),
	}))
}

func TestZabbixAgent2TakesItsProgramFromAPackageAndItsNameFromTheFleet(t *testing.T) {
	out, err := outputOf(t, fleetWithZabbix(t), "zabbix_agent2", `server: ["10.1.0.0/16", "zabbix.example"]`)
	if err != nil {
		t.Fatal(err)
	}
	if f := fileOf(t, out, "/usr/sbin/zabbix_agent2"); f.Member != "usr/sbin/zabbix_agent2" || f.Size != 9 ||
		f.Mode != 0o755 {
		t.Errorf("program %+v", f)
	}
	conf := fileOf(t, out, "/etc/zabbix_agent2/agent.conf")
	const want = `# Baked by Bakehouse from plugin zabbix_agent2. The next package replaces it.
Server=10.1.0.0/16,zabbix.example
Hostname=the-name
ListenPort=10050
LogType=console
DebugLevel=3
PidFile=/run/zabbix/zabbix_agent2.pid
`
	if string(conf.Content) != want || conf.Mode != 0o600 || conf.Owner != "zabbix" {
		t.Errorf("%o %s\n%s", conf.Mode, conf.Owner, conf.Content)
	}
	if len(out.Files) != 2 || len(out.Users) != 1 || out.Services[0].User != "zabbix" ||
		out.Services[0].Directories != (fleet.Directories{Run: "zabbix", State: "zabbix", Logs: "zabbix"}) {
		t.Errorf("%+v", out)
	}
}

func TestZabbixAgent2TakesEveryOption(t *testing.T) {
	cert, key := pair(t, "PRIVATE KEY", pkcs8)
	f := fleetWithZabbix(t)
	for name, c := range map[string]struct {
		value string
		lines []string
		files []string // below /etc/zabbix_agent2/, besides the settings
	}{
		"a key": {`tls: {mode: "psk", identity: "PSK 001", key: "` + strings.Repeat("0f", 32) + `"}`,
			[]string{"TLSConnect=psk", "TLSAccept=psk", "TLSPSKIdentity=PSK 001", "TLSPSKFile=/etc/zabbix_agent2/tls/psk"},
			[]string{"tls/psk 600 zabbix"}},
		"a key that is on the host": {`tls: {mode: "psk", identity: "x"}`, []string{"TLSPSKFile=/etc/zabbix_agent2/tls/psk"},
			nil},
		"certificates": {`tls: {mode: "certificate", ca: ` + cert + `, certificate: ` + cert + `, privateKey: ` + key +
			`, issuer: "CN=ca", subject: "CN=server"}`,
			[]string{"TLSConnect=cert", "TLSCAFile=/etc/zabbix_agent2/tls/ca.pem", "TLSServerCertIssuer=CN=ca",
				"TLSServerCertSubject=CN=server"},
			[]string{"tls/ca.pem 644 ", "tls/certificate.pem 644 ", "tls/key.pem 600 zabbix"}},
		"the servers and names": {`serverActive: ["a:10051", "b;c"], hostname: "other name", metadata: "linux web"
			listenPort: 20050, listenIP: ["127.0.0.1", "::1"]`,
			[]string{"ServerActive=a:10051,b;c", "Hostname=other name", "HostMetadata=linux web", "ListenPort=20050",
				"ListenIP=127.0.0.1,::1"}, nil},
		"items": {`userParameters: {"disk.full[*]": "df /$1 | tail -1", up: "cat /proc/uptime"}, unsafeUserParameters: true`,
			[]string{"UnsafeUserParameters=1", "UserParameter=disk.full[*],df /$1 | tail -1",
				"UserParameter=up,cat /proc/uptime"}, nil},
		"settings": {`settings: {Timeout: 10, Alias: ["a:b", "c:d"], "Plugins.Log.MaxLinesPerSecond": 20}`,
			[]string{"Timeout=10", "Alias=a:b", "Alias=c:d", "Plugins.Log.MaxLinesPerSecond=20"}, nil},
		"what may be asked for, in the author's order": {
			`access: [{deny: "vfs.file.contents[/etc/shadow*]"}, {allow: "vfs.file.contents[*]"}, {deny: "vfs.*"}]`,
			[]string{"DenyKey=vfs.file.contents[/etc/shadow*]\nAllowKey=vfs.file.contents[*]\nDenyKey=vfs.*"}, nil},
		"snippets": {`snippets: mysql: "Plugins.Mysql.CallTimeout=5\n"`,
			[]string{"Include=/etc/zabbix_agent2/plugins/mysql.conf"}, []string{"plugins/mysql.conf 600 zabbix"}},
		"a log": {`log: {to: "file", level: 4, size: 0}`,
			[]string{"LogType=file", "LogFile=/var/log/zabbix/zabbix_agent2.log", "LogFileSize=0", "DebugLevel=4"}, nil},
		"root": {`user: "root", snippets: x: ""`, nil, []string{"plugins/x.conf 600 "}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checked(t, f, "zabbix_agent2", c.value).Err(); err != nil {
				t.Fatal(err)
			}
			out, err := outputOf(t, f, "zabbix_agent2", c.value)
			if err != nil {
				t.Fatal(err)
			}
			conf := string(fileOf(t, out, "/etc/zabbix_agent2/agent.conf").Content)
			for _, line := range c.lines {
				if !strings.Contains(conf, "\n"+line+"\n") {
					t.Errorf("no line %s in\n%s", line, conf)
				}
			}
			var files []string
			for _, f := range out.Files {
				if name, ok := strings.CutPrefix(f.Path, "/etc/zabbix_agent2/"); ok && name != "agent.conf" {
					files = append(files, fmt.Sprintf("%s %o %s", name, f.Mode, f.Owner))
				}
			}
			if !slices.Equal(files, c.files) {
				t.Errorf("files %q, want %q", files, c.files)
			}
		})
	}
}

func TestZabbixAgent2TakesItsPackageFromAURL(t *testing.T) {
	sum := "sha256:" + strings.Repeat("ab", 32)
	out, err := outputOf(t, fleetWithZabbix(t), "zabbix_agent2",
		`package: {url: "https://example.com/zabbix.rpm", sha256: "`+sum+`"}, member: "opt/agent"`)
	if err != nil {
		t.Fatal(err)
	}
	if f := fileOf(t, out, "/usr/sbin/zabbix_agent2"); f.URL != "https://example.com/zabbix.rpm" ||
		f.Member != "opt/agent" || f.Archive.String() != sum {
		t.Errorf("program %+v", f)
	}
}

func TestZabbixAgent2RefusesWhatWouldSayMoreInItsSettings(t *testing.T) {
	f := fleetWithZabbix(t)
	for name, value := range map[string]string{
		"a second line":                    `hostname: "a\nAllowKey=*"`,
		"a second line in metadata":        `metadata: "a\nAllowKey=*"`,
		"a second server in one":           `server: ["a,b"]`,
		"a second line in a command":       `userParameters: a: "x\ny"`,
		"a second line in a key":           `userParameters: "a\nb": "x"`,
		"a comma in a key":                 `userParameters: "a,b": "x"`,
		"a setting that has a parameter":   `settings: Server: "0.0.0.0/0"`,
		"a setting of TLS":                 `settings: TLSPSKFile: "/etc/shadow"`,
		"a setting that is two":            `settings: "Timeout=3\nServer": "0.0.0.0/0"`,
		"a second line in a setting":       `settings: Timeout: "3\nServer=0.0.0.0/0"`,
		"a second line in one of a list":   `settings: Alias: ["a\nServer=0.0.0.0/0"]`,
		"access without an order":          `settings: {DenyKey: ["a"], AllowKey: ["b"]}`,
		"access that is both":              `access: [{deny: "a", allow: "b"}]`,
		"a second line in access":          `access: [{deny: "a\nAllowKey=*"}]`,
		"a snippet elsewhere":              `snippets: "../../x": "y"`,
		"a key that is none":               `tls: {mode: "psk", identity: "x", key: "secret"}`,
		"a key that is too short":          `tls: {mode: "psk", identity: "x", key: "0123"}`,
		"an unknown mode":                  `tls: mode: "tls"`,
		"an unknown field":                 `log: file: "/x"`,
		"a port that the agent would mind": `listenPort: 80`,
	} {
		err := checked(t, f, "zabbix_agent2", value).Err()
		if err == nil {
			_, err = outputOf(t, f, "zabbix_agent2", value)
		}
		if err == nil || !strings.Contains(err.Error(), "hosts/given.cue:2:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := outputOf(t, f, "zabbix_agent2", `tls: mode: "psk"`); err == nil ||
		!strings.Contains(err.Error(), "needs the parameter tls.identity") {
		t.Errorf("a key without a name: %v", err)
	}
}
