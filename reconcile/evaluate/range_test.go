package evaluate

import (
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

func TestANumberOutOfRangeSaysTheRange(t *testing.T) {
	const plugin = `package p
plugin: {
	params: {
		level: int & >=1 & <=60 | *5
		plain?: int & >=-3
		below?: number & <2.5
		between?: number & >0 & <3
		many: [...int & >=2 & <=4]
		named: [string]: {size: #size}
		deep: {port?: #size, either: int & >=7 & <=9 | *"auto"}
		#size: int & >=1 & <=65535
	}
}
`
	for value, want := range map[string]string{
		"level: 100":            "p.level: 100 is out of range: want 1 to 60",
		"level: 0":              "p.level: 0 is out of range: want 1 to 60",
		"plain: -4":             "p.plain: -4 is out of range: want at least -3",
		"below: 2.5":            "p.below: 2.5 is out of range: want less than 2.5",
		"between: 3":            "p.between: 3 is out of range: want more than 0 and less than 3",
		"many: [2, 5]":          "p.many[1]: 5 is out of range: want 2 to 4",
		"named: x: size: 65536": "p.named.x.size: 65536 is out of range: want 1 to 65535",
		"deep: port: 0":         "p.deep.port: 0 is out of range: want 1 to 65535",
		"deep: either: 10":      "p.deep.either: 10 is out of range: want 7 to 9",
	} {
		got := refused(t, repo(map[string]string{"plugins/p/plugin.cue": plugin,
			"hosts/r.cue": "package hosts\nrules: p: [{value: " + value + "}]\n"}))
		if !strings.Contains(got, want) || !strings.Contains(got, "hosts/r.cue:2:") {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
	for file, c := range map[string][2]string{
		"limits.cue": {"package fleet\nlimits: removed: -1\n", "limits.removed: -1 is out of range: want at least 0"},
		"keep.cue":   {"package fleet\nkeep: releases: 0\n", "keep.releases: 0 is out of range: want at least 1"},
		"hosts/r.cue": {"package hosts\nrules: zabbix_agent2: [{value: {listenPort: 80, log: level: 9}}]\n",
			"zabbix_agent2.listenPort: 80 is out of range: want 1024 to 32767"},
		"hosts/log.cue": {"package hosts\nrules: zabbix_agent2: [{value: log: level: 9}]\n",
			"zabbix_agent2.log.level: 9 is out of range: want 0 to 5"},
		"hosts/threshold.cue": {"package hosts\nrules: updater: [{value: threshold: 0}]\n",
			"updater.threshold: 0 is out of range: want at least 1"},
	} {
		if got := refused(t, repo(map[string]string{file: c[0]})); !strings.Contains(got, c[1]) {
			t.Errorf("%s: %s, want %s", file, got, c[1])
		}
	}
	key := fleet.KeyFile(fleet.Key{Name: "one", Public: testKey, Uses: []string{fleet.UsePackage}})
	got := refused(t, repo(map[string]string{"keys/one.cue": string(key),
		"hosts/later/r.cue": "package later\nrules: updater: [{value: threshold: 2}]\n"}))
	if !strings.Contains(got, "hosts/later/r.cue:2:26: updater.threshold: 2 is out of range: want 1 to 1, the number") {
		t.Error(got)
	}
	_, err := outputOf(t, fleetWithKeys(t), "updater", "fixed: true, threshold: 3")
	const want = "hosts/given.cue:2:22: plugin updater: threshold: 3 is out of range: want 1 to 2, the number of " +
		"accepted keys"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
