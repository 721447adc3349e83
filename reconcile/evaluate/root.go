package evaluate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// accessSchema is the version of the access target's form.
const accessSchema = 1

const day = 24 * time.Hour

// defaultRemoved is fleet.cue's limits.removed.
const defaultRemoved = 50

// defaultReleases is fleet.cue's keep.releases.
const defaultReleases = 10

var defaultLifetimes = fleet.Lifetimes{Timestamp: 7 * day, Snapshot: 30 * day, Targets: 365 * day, Root: 365 * day}

// takeRoot reads the top folder.
func (ld *loader) takeRoot(_ *evaluated, n *node) {
	f := ld.fleet
	f.Name = n.get("name").str()
	f.URL = ld.url(n.get("url"))
	f.Certificates = ld.certificates(n.get("certificates"))
	f.Lifetimes = defaultLifetimes
	lifetimes := n.get("lifetimes")
	for name, into := range map[string]*time.Duration{"timestamp": &f.Lifetimes.Timestamp, "snapshot": &f.Lifetimes.Snapshot,
		"targets": &f.Lifetimes.Targets, "root": &f.Lifetimes.Root} {
		if v := lifetimes.get(name); v != nil {
			*into = time.Duration(ld.duration(v))
			if *into < time.Minute {
				ld.problem(v, "lifetime %s is under a minute", v.text)
			}
		}
	}
	f.KeyExpiry = ld.keyExpiry(n.get("keyExpiry"))
	f.Limits.Removed = defaultRemoved
	if v := n.get("limits").get("removed"); v != nil {
		if f.Limits.Removed, _ = strconv.Atoi(v.text); v.text != strconv.Itoa(f.Limits.Removed) {
			ld.problem(v, "limits: removed: %s is too large", v.text)
		}
	}
	f.Keep.Releases = defaultReleases
	if v := n.get("keep").get("releases"); v != nil {
		if f.Keep.Releases, _ = strconv.Atoi(v.text); v.text != strconv.Itoa(f.Keep.Releases) {
			ld.problem(v, "keep: releases: %s is too large", v.text)
		}
	}
	if v := n.get("anchor"); v != nil {
		f.AnchorVersion, _ = strconv.Atoi(v.text) // too large is out of range below
	}
	ld.readTrust()
	if count := len(f.Roots); count > 0 && (f.AnchorVersion < 1 || f.AnchorVersion > count) {
		ld.problem(n.get("anchor"), "anchor: there is no trust/%s.root.json; the newest is %d", n.get("anchor").str(), count)
	}
	if programs := n.get("programs"); programs != nil {
		for i, name := range programs.names {
			v := programs.fields[i]
			p, err := schema.ParsePlatform(name)
			sum, err2 := schema.ParseDigest(v.get("sha256").str())
			if err != nil || err2 != nil || sum.IsZero() {
				ld.problem(v, "programs: %s: platform or sha256 is malformed", name)
				continue
			}
			f.Programs[p] = fleet.Program{Version: v.get("version").str(), SHA256: sum, Pos: v.at()}
		}
	}
	ld.takeDownloads(n.get("downloads"))
	ld.takeConditions(n.get("conditions"))
	ld.takeRollout(n.get("rollout"))
	ld.takeUsers(n.get("users"))
	f.Sites[fleet.CentralSite] = schema.Site{URL: f.URL, Certificates: strings.Join(f.Certificates, "")}
}

func (ld *loader) takeRollout(n *node) {
	r := &ld.fleet.Rollout
	r.Enabled = n.get("enabled").is()
	r.Select = ld.when(n.get("select"))
	if r.MaxHold = ld.duration(n.get("maxHold")); n.get("maxHold") != nil && r.MaxHold <= 0 {
		ld.problem(n.get("maxHold"), "maxHold is no time at all")
	}
	ld.takeRevoked(n.get("revoked"))
	rings := n.get("rings")
	if rings == nil {
		r.Rings = []fleet.Ring{{Ring: schema.Ring{Name: "all"}}}
		return
	}
	seen := map[string]*node{}
	for _, v := range rings.fields {
		name := v.get("name")
		if first := seen[name.text]; first != nil {
			ld.problem(name, "ring %q stands here twice", name.text).Also = []fleet.Pos{first.at()}
		}
		seen[name.text] = name
		r.Rings = append(r.Rings, fleet.Ring{Ring: schema.Ring{Name: name.text, Delay: ld.duration(v.get("delay"))}, When: ld.when(v.get("when")), Pos: v.at()})
	}
}

func (ld *loader) takeRevoked(n *node) {
	if n == nil {
		return
	}
	seen := map[schema.Digest]*node{}
	for _, v := range n.fields {
		d, err := schema.ParseDigest(v.text)
		if err != nil || d.IsZero() {
			ld.problem(v, "revoked: %s is not the sha256 of a package", quote(v.text))
			continue
		}
		if first := seen[d]; first != nil {
			ld.problem(v, "package %s is revoked twice", d.Short()).Also = []fleet.Pos{first.at()}
		}
		seen[d] = v
		ld.fleet.Rollout.Revoked = append(ld.fleet.Rollout.Revoked, d)
	}
}

func (ld *loader) takeDownloads(n *node) {
	if n == nil {
		return
	}
	d := &schema.Downloads{Certificates: strings.Join(ld.certificates(n.get("certificates")), "")}
	for _, v := range n.get("origins").fields {
		if err := schema.CheckServerURL(v.text); err != nil {
			ld.problem(v, "%v", err)
		}
		d.Origins = append(d.Origins, v.text)
	}
	ld.fleet.Downloads = d
}

func (ld *loader) takeUsers(n *node) {
	if n == nil {
		return
	}
	for i, name := range n.names {
		v := n.fields[i]
		u := schema.User{Hash: v.get("hash").str(), Automation: v.get("automation").is(), Permissions: map[string][]string{}}
		permissions := v.get("permissions")
		for j, permission := range permissions.names {
			ld.patterns(permissions.fields[j])
			u.Permissions[permission] = permissions.fields[j].strs()
		}
		ld.fleet.Access.Users[name] = u
	}
}

var rootFile = regexp.MustCompile(`^([1-9][0-9]{0,8})\.root\.json$`)

// readTrust reads the chain of roots as it lies in trust/. Nothing is believed of it here: package sign verifies it.
func (ld *loader) readTrust() {
	entries, err := fs.ReadDir(ld.fsys, "trust")
	if err != nil {
		return // none yet
	}
	files := map[int]string{}
	for _, e := range entries {
		name := "trust/" + e.Name()
		m := rootFile.FindStringSubmatch(e.Name())
		switch {
		case e.Name()[0] == '.':
		case m == nil:
			ld.warn(fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "nothing reads this file", Hint: "roots are called 1.root.json, 2.root.json and on"})
		case !e.Type().IsRegular():
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is not a regular file"})
		default:
			v, _ := strconv.Atoi(m[1])
			files[v] = name
		}
	}
	for v := 1; v <= len(files); v++ {
		name, ok := files[v]
		if !ok {
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: fmt.Sprintf("trust/%d.root.json", v)}, Msg: "is missing, but later roots are there",
				Hint: "hosts walk the roots one by one: restore it from the repo's history"})
			return
		}
		data, err := readFile(ld.fsys, name, schema.MaxRoot)
		if err == nil && sourcefile.IsPointer(data) {
			ld.ps = append(ld.ps, pointerProblem(fleet.Pos{File: name}))
			return
		}
		if err == nil && !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
			err = fmt.Errorf("is not JSON")
		}
		if err != nil {
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: err.Error()})
			return
		}
		ld.fleet.Roots = append(ld.fleet.Roots, data)
	}
}

// takeKeys reads keys/.
func (ld *loader) takeKeys(_ *evaluated, n *node) {
	defer ld.takeThresholds(n)
	ld.readPrivate()
	keys := n.get("keys")
	if keys == nil {
		return
	}
	seen := map[string]*fleet.Key{}
	for i, name := range keys.names {
		k := ld.key(name, keys.fields[i])
		if k == nil {
			continue
		}
		if first := seen[k.Public]; first != nil {
			p := ld.problem(keys.fields[i], "key %s is the same key as %s, so the two would count as two signatures", name, first.Name)
			p.Pos, p.Also = k.Pos, []fleet.Pos{first.Pos}
		}
		seen[k.Public] = k
		ld.fleet.Keys[name] = k
	}
}

// takeThresholds reads how many keys have to sign a role. More than there are could never sign it.
func (ld *loader) takeThresholds(n *node) {
	thresholds := n.get("thresholds")
	if thresholds == nil {
		return
	}
	ld.fleet.Thresholds = map[string]int{}
	for i, use := range thresholds.names {
		v, have := thresholds.fields[i], 0
		for _, k := range ld.fleet.Keys {
			if k.Has(use) {
				have++
			}
		}
		want, err := strconv.Atoi(v.text)
		if err != nil || want > have {
			keys := "keys have"
			if have == 1 {
				keys = "key has"
			}
			ld.problem(v, "thresholds: %s: %s, but %d %s the use %s", use, v.text, have, keys, use).Hint =
				"lower it, or make more keys: bakehouse key create NAME --use " + use
		}
		ld.fleet.Thresholds[use] = want
	}
}

// takeSites reads sites/.
func (ld *loader) takeSites(_ *evaluated, n *node) {
	sites := n.get("sites")
	if sites == nil {
		return
	}
	for i, name := range sites.names {
		v := sites.fields[i]
		if name == fleet.CentralSite {
			ld.problem(v, "site %s is the server of fleet.cue", name)
			continue
		}
		ld.sites[name] = v.at()
		ld.fleet.Sites[name] = schema.Site{URL: ld.url(v.get("url")), Certificates: strings.Join(ld.certificates(v.get("certificates")), "")}
	}
}

func (ld *loader) url(n *node) string {
	if err := schema.CheckServerURL(n.text); err != nil {
		ld.problem(n, "%v", err)
	}
	return strings.TrimSuffix(n.text, "/")
}

// certificates reads a list of PEM certificates, one or more in each item, and returns them one by one.
func (ld *loader) certificates(n *node) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, v := range n.fields {
		certs, err := splitCertificates(v.text)
		if err != nil {
			ld.problem(v, "certificate: %v", err)
		}
		out = append(out, certs...)
	}
	return out
}

func splitCertificates(text string) ([]string, error) {
	var out []string
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("not a PEM certificate")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
		out = append(out, string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})))
	}
	return out, nil
}

func (ld *loader) duration(n *node) schema.Duration {
	if n == nil {
		return 0
	}
	d, err := schema.ParseDuration(n.text)
	if err != nil {
		ld.problem(n, "%v", err)
	}
	return d
}

// problem notes what is wrong at n. The result may be completed until the next call.
func (ld *loader) problem(n *node, format string, args ...any) *fleet.Problem {
	return ld.problemAt(n.at(), format, args...)
}

func (ld *loader) problemAt(at fleet.Pos, format string, args ...any) *fleet.Problem {
	ld.ps = append(ld.ps, fleet.Problem{Pos: at, Msg: fmt.Sprintf(format, args...)})
	return &ld.ps[len(ld.ps)-1]
}
