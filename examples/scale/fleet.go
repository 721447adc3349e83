package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A made fleet is the same for the same number of hosts. A twentieth of them, at most 5,000, stand in one folder and the
// others in folders of 100, in twenty regions. 30 plugins get their parameters from 200 rules by region, role and tier,
// whose combinations make 2,000 recipes once there are hosts for all of them.
const (
	regions = 20
	roles   = 20
	tiers   = 5
	probes  = 30
	small   = 100 // hosts of an ordinary folder
)

// folder holds the hosts numbered from..to-1. Its path is below hosts/.
type folder struct {
	path     string
	from, to int
}

func folders(hosts int) []folder {
	large := min(5000, hosts/20)
	all := []folder{{"region00/large", 0, large}}
	for at := large; at < hosts; at += small {
		i := len(all) - 1
		all = append(all, folder{fmt.Sprintf("region%02d/room%04d", 1+i%(regions-1), i), at, min(at+small, hosts)})
	}
	return all
}

// file is the folder's hosts.cue. Neighbours differ in role, so that every folder of 100 has each combination of role and
// tier once.
func (f folder) file() string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n\n", filepath.Base(f.path))
	for n := f.from; n < f.to; n++ {
		fmt.Fprintf(&b, "hosts: h%06d: {address: \"10.%d.%d.%d\", labels: role: \"role%02d\", tags: tier: \"tier%d\"}\n",
			n, n>>16, n>>8&255, n&255, n%roles, n/roles%tiers)
	}
	return b.String()
}

// write makes the config repo of a fleet of that many hosts in dir.
func write(dir string, hosts int) error {
	files := map[string]string{
		"cue.mod/module.cue": "module: \"scale.example@v0\"\nlanguage: version: \"v0.17.0\"\n",
		"fleet.cue":          fleetFile,
		"hosts/hosts.cue":    "package hosts\n\ndefaults: {platform: \"linux/amd64\", format: \"deb\"}\n",
		"hosts/rules.cue":    rootRules(),
		// Ten rules of the large folder, over its region's two.
		"hosts/region00/large/rules.cue": "package large\n\n" + list("probe10", func(add rule) {
			for n := range 10 {
				add(fmt.Sprintf(`{when: labels: role: ["role%02d", "role%02d"], value: level: %d}`, n, n+10, 10+n))
			}
		}),
	}
	for n := range regions {
		files[fmt.Sprintf("hosts/region%02d/rules.cue", n)] = fmt.Sprintf("package region%02d\n\n", n) +
			list("probe08", func(add rule) { add(fmt.Sprintf(`{value: region: "region%02d"}`, n)) }) +
			list("probe09", func(add rule) { add(fmt.Sprintf(`{value: level: %d}`, n)) })
	}
	for n := range probes {
		files[fmt.Sprintf("plugins/probe%02d/plugin.cue", n)] = strings.ReplaceAll(pluginFile, "NN", fmt.Sprintf("%02d", n))
		files[fmt.Sprintf("plugins/probe%02d/probe.sh", n)] = fmt.Sprintf("#!/bin/sh\n. /etc/probe%02d.conf\necho \"<<<probe%02d>>>\"\n", n, n)
	}
	for _, f := range folders(hosts) {
		files["hosts/"+f.path+"/hosts.cue"] = f.file()
	}
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

type rule func(string)

// list is the rules of a plugin.
func list(plugin string, fill func(add rule)) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rules: %s: [\n", plugin)
	fill(func(s string) { fmt.Fprintf(&b, "\t%s,\n", s) })
	b.WriteString("]\n")
	return b.String()
}

// rootRules are 150: for five plugins one per role, for two one per tier, for one ten by regular expression, and one for
// every plugin that is for all hosts.
func rootRules() string {
	var b strings.Builder
	b.WriteString("package hosts\n\n")
	for p := range probes {
		b.WriteString(list(fmt.Sprintf("probe%02d", p), func(add rule) {
			switch {
			case p < 5:
				for n := range roles {
					add(fmt.Sprintf(`{when: labels: role: "role%02d", value: {role: "role%02d", level: %d}}`, n, n, n*(p+1)))
				}
			case p < 7:
				for n := range tiers {
					add(fmt.Sprintf(`{when: tags: tier: "tier%d", value: {tier: "tier%d", level: %d}}`, n, n, n*(p+1)))
				}
			case p == 7:
				for n := range 10 {
					add(fmt.Sprintf(`{when: hosts: ["~h[0-9]{5}%d$"], value: level: %d}`, n, n))
				}
			}
			add(fmt.Sprintf(`{value: listen: "127.0.0.1:91%02d"}`, p))
		}))
	}
	return b.String()
}

const fleetFile = `package fleet

name: "scale"
url:  "https://bakehouse.example:8443"

rollout: {
	enabled: true
	rings: [{name: "all"}]
}
`

const pluginFile = `// A probe of a made fleet.
package probeNN

plugin: {
	doc: "probe number NN"
	params: {
		// Where the probe listens.
		listen: string | *":9100"
		role:   string | *"none"
		tier:   string | *"none"
		region: string | *"none"
		level:  int & >=0 & <=1000 | *1
	}
	files: "/usr/bin/probeNN": {source: "probe.sh", mode: 0o755}
	files: "/etc/probeNN.conf": content: """
		LISTEN=\(params.listen)
		ROLE=\(params.role)
		TIER=\(params.tier)
		REGION=\(params.region)
		LEVEL=\(params.level)

		"""
}
`
