package evaluate

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"bakehouse/reconcile/evaluate/named"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

const (
	day             = 24 * time.Hour
	defaultRemoved  = 50 // fleet.cue's limits.removed
	defaultReleases = 10 // its keep.releases
)

var defaultLifetimes = fleet.Lifetimes{Timestamp: 7 * day, Snapshot: 30 * day, Targets: 365 * day, Root: 365 * day}

// takeRoot reads the top folder.
func (b *builder) takeRoot(n *result.Node) {
	f := b.fleet
	f.Name = n.Get("name").Str()
	f.URL = b.url(n.Get("url"))
	f.Certificates = b.certificates(n.Get("certificates"))
	f.Lifetimes = defaultLifetimes
	lifetimes := n.Get("lifetimes")
	for name, into := range map[string]*time.Duration{"timestamp": &f.Lifetimes.Timestamp,
		"snapshot": &f.Lifetimes.Snapshot,
		"targets":  &f.Lifetimes.Targets, "root": &f.Lifetimes.Root} {
		if v := lifetimes.Get(name); v != nil {
			*into = time.Duration(b.duration(v))
			if *into < time.Minute {
				b.problem(v, "lifetime %s is under a minute", v.Text)
			}
		}
	}
	f.KeyExpiry = b.keyExpiry(n.Get("keyExpiry"))
	f.Limits = fleet.Limits{Removed: defaultRemoved, Half: true}
	if v := n.Get("limits").Get("removed"); v != nil {
		f.Limits = fleet.Limits{Removed: b.count(v, "limits: removed")}
	}
	f.Keep.Releases = cmp.Or(b.count(n.Get("keep").Get("releases"), "keep: releases"), defaultReleases)
	if v := n.Get("anchor"); v != nil {
		f.AnchorVersion, _ = strconv.Atoi(v.Text) // too large is out of range below
	}
	b.readTrust()
	if count := len(f.Roots); count > 0 && (f.AnchorVersion < 1 || f.AnchorVersion > count) {
		b.problem(n.Get("anchor"), "anchor: there is no trust/%s.root.json; the newest is %d", n.Get("anchor").Str(), count)
	}
	if programs := n.Get("programs"); programs != nil {
		for i, name := range programs.Names {
			v := programs.Parts[i]
			p, err := schema.ParsePlatform(name)
			sum, err2 := schema.ParseDigest(v.Get("sha256").Str())
			if err != nil || err2 != nil || sum.IsZero() {
				b.problem(v, "programs: %s: platform or sha256 is malformed", name)
				continue
			}
			if err := fleet.CheckVersion(v.Get("version").Str()); err != nil {
				b.problem(v.Get("version"), "programs: %s: %v", name, err).Hint =
					"`bakehouse upgrade` pins a version that is right in every package format"
			}
			f.Programs[p] = fleet.Program{Version: v.Get("version").Str(), SHA256: sum, Pos: v.At()}
		}
	}
	b.takeDownloads(n.Get("downloads"))
	b.takeConditions(n.Get("conditions"))
	b.takeRollout(n.Get("rollout"))
	b.takeUsers(n.Get("users"))
	f.Sites[fleet.CentralSite] = schema.Site{URL: f.URL, Certificates: strings.Join(f.Certificates, ""),
		Passwords: true}
}

func (b *builder) takeDownloads(n *result.Node) {
	if n == nil {
		return
	}
	d := &schema.Downloads{Certificates: strings.Join(b.certificates(n.Get("certificates")), "")}
	for _, v := range n.Get("origins").Parts {
		if err := schema.CheckServerURL(v.Text); err != nil {
			b.problem(v, "%v", err)
		}
		d.Origins = append(d.Origins, v.Text)
	}
	b.fleet.Downloads = d
}

var rootFile = regexp.MustCompile(`^([1-9][0-9]{0,8})\.root\.json$`)

// readTrust reads the chain of roots as it lies in trust/. Nothing is believed of it here: package sign verifies it.
func (b *builder) readTrust() {
	entries, err := fs.ReadDir(b.fsys, "trust")
	if err != nil {
		return // none yet
	}
	files := map[int]string{}
	for _, e := range entries {
		name := "trust/" + e.Name()
		m := rootFile.FindStringSubmatch(e.Name())
		switch {
		case named.ForOthers(e.Name()):
		case m == nil:
			b.warn(fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "nothing reads this file",
				Hint: "roots are called 1.root.json, 2.root.json and on"})
		case !e.Type().IsRegular():
			b.ps = append(b.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is not a regular file"})
		default:
			v, _ := strconv.Atoi(m[1])
			files[v] = name
		}
	}
	for v := 1; v <= len(files); v++ {
		name, ok := files[v]
		if !ok {
			b.ps = append(b.ps, fleet.Problem{Pos: fleet.Pos{File: fmt.Sprintf("trust/%d.root.json", v)},
				Msg:  "is missing, but later roots are there",
				Hint: "hosts walk the roots one by one: restore it from the repo's history"})
			return
		}
		data, err := readFile(b.fsys, name, schema.MaxRoot)
		if err == nil && sourcefile.IsPointer(data) {
			b.ps = append(b.ps, pointerProblem(fleet.Pos{File: name}))
			return
		}
		if err == nil && !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
			err = fmt.Errorf("is not JSON")
		}
		if err != nil {
			b.ps = append(b.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: err.Error()})
			return
		}
		b.fleet.Roots = append(b.fleet.Roots, data)
	}
}

// takeKeys reads keys/.
func (b *builder) takeKeys(n *result.Node) {
	defer b.takeThresholds(n)
	b.readPrivate()
	keys := n.Get("keys")
	if keys == nil {
		return
	}
	seen := map[string]*fleet.Key{}
	for i, name := range keys.Names {
		k := b.key(name, keys.Parts[i])
		if k == nil {
			continue
		}
		if first := seen[k.Public]; first != nil {
			p := b.problem(keys.Parts[i], "key %s is the same key as %s, so the two would count as two signatures", name,
				first.Name)
			p.Pos, p.Also = k.Pos, []fleet.Pos{first.Pos}
		}
		seen[k.Public] = k
		b.fleet.Keys[name] = k
	}
}

// takeThresholds reads how many keys have to sign a role. More than there are could never sign it. The online roles are
// signed by one run, so more than one key would be a threshold in name only.
func (b *builder) takeThresholds(n *result.Node) {
	thresholds := n.Get("thresholds")
	if thresholds == nil {
		return
	}
	b.fleet.Thresholds = map[string]int{}
	for i, use := range thresholds.Names {
		v, have := thresholds.Parts[i], 0
		for _, k := range b.fleet.Keys {
			if k.Has(use) {
				have++
			}
		}
		want, err := strconv.Atoi(v.Text)
		switch {
		case use != fleet.UseRoot && want > 1:
			p := b.problem(v, "thresholds: %s: %s: reconcile signs with all of these keys in one run, "+
				"so that whoever holds it has them all", use, v.Text)
			p.Hint = "leave it out; so that two parties have to agree, let hosts demand " +
				"the signatures of two package keys, the second on another machine: bakehouse package sign"
		case err != nil || want > have:
			keys := "keys have"
			if have == 1 {
				keys = "key has"
			}
			b.problem(v, "thresholds: %s: %s, but %d %s the use %s", use, v.Text, have, keys, use).Hint =
				"lower it, or make more keys: bakehouse key create NAME --use " + use
		}
		b.fleet.Thresholds[use] = want
	}
}

// takeSites reads sites/.
func (b *builder) takeSites(n *result.Node) {
	sites := n.Get("sites")
	if sites == nil {
		return
	}
	for i, name := range sites.Names {
		v := sites.Parts[i]
		if name == fleet.CentralSite {
			b.problem(v, "site %s is the server of fleet.cue", name)
			continue
		}
		b.fleet.SitePos[name] = v.At()
		vouched := b.fleet.Certificates
		if v.Get("certificates") != nil {
			vouched = b.certificates(v.Get("certificates"))
		}
		if p := v.Get("passwords"); p.True() {
			b.warn(fleet.Problem{Pos: p.At(), Msg: "whoever runs site " + name + " can read the passwords that " +
				"users type to register hosts there, and use them at the central server for all that these users may " +
				"do",
				Hint: "leave it out: hosts register at a site with a join token (`bakehouse token create`)"})
		}
		b.fleet.Sites[name] = schema.Site{URL: b.url(v.Get("url")), Certificates: strings.Join(vouched, ""),
			Passwords: v.Get("passwords").True()}
	}
}

func (b *builder) url(n *result.Node) string {
	if err := schema.CheckServerURL(n.Text); err != nil {
		b.problem(n, "%v", err)
	} else {
		b.inTheClear(n.At(), n.Text)
	}
	return strings.TrimSuffix(n.Text, "/")
}

// certificates reads a list of PEM certificates, one or more in each item, and returns them one by one.
func (b *builder) certificates(n *result.Node) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, v := range n.Parts {
		certs, err := schema.ParseCertificates(v.Text)
		if err != nil {
			b.problem(v, "certificate: %v", err)
		}
		for _, c := range certs {
			b.fleet.Authorities = append(b.fleet.Authorities, fleet.Authority{Pos: v.At(), Cert: c})
			out = append(out, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		}
	}
	return out
}
