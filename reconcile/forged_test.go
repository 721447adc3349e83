package reconcile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/bins"
	"bakehouse/reconcile/judge"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
	"bakehouse/schema/tree"
	"bakehouse/serve/store"
)

// forgery is a state that a thief with the online keys makes of the published one. It names the newest reviewed commit,
// and is signed as reconcile signs.
type forgery struct {
	*lab
	location string
	st       store.Store
	life     time.Duration // of the timestamp

	policy  schema.Policy
	release schema.Release
	access  *schema.Access
	hosts   map[string]*schema.Assignment
}

// forge publishes what bend makes of the newest state.
func (l *lab) forge(location string, bend func(f *forgery)) {
	l.t.Helper()
	ctx, ring := l.t.Context(), l.stolen
	if ring == nil {
		ring = l.ring()
	}
	f := &forgery{lab: l, location: location, st: l.store(location), hosts: map[string]*schema.Assignment{}}
	head, err := store.Head(ctx, f.st)
	l.must(err)
	s, err := publish.NewReader(f.st, l.top(), nil).At(ctx, head)
	l.must(err)
	f.policy, f.release, f.access = *s.Policy(), *s.Release(), s.Access()
	life := fleet.Lifetimes{}
	for _, of := range []struct {
		life *time.Duration
		role string
	}{{&life.Targets, "targets"}, {&life.Snapshot, "snapshot"}, {&life.Timestamp, "timestamp"}} {
		*of.life = s.Expires(of.role).Sub(f.release.Issued)
	}
	for a := range s.InOrder() {
		own := *a
		own.Older = append([]schema.Candidate(nil), a.Older...)
		f.hosts[a.Host] = &own
	}
	before := maps.Clone(f.hosts)
	for host, a := range before {
		was := *a
		was.Older = append([]schema.Candidate(nil), a.Older...)
		before[host] = &was
	}
	f.life = life.Timestamp
	f.release.Number, f.release.Issued, f.policy.Issued = f.release.Number+1, l.now, l.now
	f.release.Commit, f.release.Tree = l.git("rev-parse", "main"), l.git("rev-parse", "main^{tree}")
	bend(f)

	root, err := trust.ParseRoot(l.top().Roots[0])
	l.must(err)
	read := func(role string) []byte {
		b, err := store.Read(ctx, f.st, schema.MetadataKey(role, s.Version(role)), 1<<20)
		l.must(err)
		return b
	}
	sums, versions := map[string]schema.Digest{}, map[string]int64{}
	create := func(key string, b []byte) {
		if err := store.CreateBytes(ctx, f.st, key, b); err != nil && !errors.Is(err, fs.ErrExist) {
			l.t.Fatal(err)
		}
	}
	targets, err := metadata.Targets().FromBytes(read("targets"))
	l.must(err)
	layout := bins.LayoutOf(targets.Signed.Delegations.SuccinctRoles)
	dirty := map[string]bool{}
	for host := range before {
		a, err := json.Marshal(before[host])
		l.must(err)
		if b, err := json.Marshal(f.hosts[host]); err != nil || !bytes.Equal(a, b) {
			dirty[layout.Of(host)] = true
		}
	}
	for _, role := range layout.Names() {
		versions[role], sums[role] = s.Version(role), s.Sum(role)
		if !dirty[role] {
			continue
		}
		md := metadata.Targets(f.release.Issued.Add(life.Targets))
		bins.NameRole(md, role)
		md.Signed.Version = versions[role] + 1
		for _, a := range f.hosts {
			if layout.Of(a.Host) != role {
				continue
			}
			custom, err := json.Marshal(a.Target)
			l.must(err)
			md.Signed.Targets[schema.PackageTarget(a.Host)] = &metadata.TargetFiles{Length: a.Length,
				Hashes: metadata.Hashes{"sha256": a.SHA256[:]}, Custom: (*json.RawMessage)(&custom)}
		}
		b, err := keys.SignRole(ring, md, root.Signed.Roles["targets"])
		l.must(err)
		versions[role], sums[role] = md.Signed.Version, schema.DigestOf(b)
		create(schema.MetadataKey(role, md.Signed.Version), b)
	}
	contents := map[string]any{schema.PolicyTarget: f.policy, schema.ReleaseTarget: f.release}
	if f.access != nil {
		contents[schema.AccessTarget] = f.access
	}
	for name, v := range contents {
		b, err := json.Marshal(v)
		l.must(err)
		d := schema.DigestOf(b)
		create(schema.TargetKey(d), b)
		targets.Signed.Targets[name] = &metadata.TargetFiles{Length: int64(len(b)),
			Hashes: metadata.Hashes{"sha256": d[:]}}
	}
	targets.Signed.Version++
	targets.Signed.Expires = f.release.Issued.Add(life.Targets)
	b, err := keys.SignRole(ring, targets, root.Signed.Roles["targets"])
	l.must(err)
	create(schema.MetadataKey("targets", targets.Signed.Version), b)
	versions["targets"], sums["targets"] = targets.Signed.Version, schema.DigestOf(b)

	snapshot := metadata.Snapshot(f.release.Issued.Add(life.Snapshot))
	snapshot.Signed.Version = s.Version("snapshot") + 1
	var lines []tree.Line
	snapshot.Signed.Meta = map[string]*metadata.MetaFiles{}
	for role, v := range versions {
		snapshot.Signed.Meta[role+".json"] = metadata.MetaFile(v)
		lines = append(lines, tree.Line{Role: role, Version: v, SHA256: sums[role]})
	}
	all := tree.Of(lines)
	create(schema.TreeKey(all.Root()), all.Encode())
	snapshot.Signed.UnrecognizedFields = tree.Sign(nil, all.Root())
	b, err = keys.SignRole(ring, snapshot, root.Signed.Roles["snapshot"])
	l.must(err)
	create(schema.MetadataKey("snapshot", snapshot.Signed.Version), b)

	stamp := metadata.Timestamp(f.release.Issued.Add(f.life))
	stamp.Signed.Version = head + 1
	sum := schema.DigestOf(b)
	stamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": {Version: snapshot.Signed.Version,
		Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": sum[:]}}}
	b, err = keys.SignRole(ring, stamp, root.Signed.Roles["timestamp"])
	l.must(err)
	create(schema.TimestampKey(head+1), b)
}

// evil is the package that web01 has on a branch that nobody merged. What it is made of is put into the store.
func (l *lab) evil(location string) schema.Candidate {
	l.t.Helper()
	l.git("checkout", "-q", "-B", "evil", "main")
	l.disk(1)
	l.commit("nobody reviewed this")
	o := l.options(filepath.Join(l.t.TempDir(), "evil"))
	o.Ref = "evil"
	_, err := Run(l.t.Context(), o, io.Discard)
	l.must(err)
	for key, b := range l.objects(o.Store) {
		if !strings.HasPrefix(key, schema.MetadataDir) && !strings.HasPrefix(key, schema.TimestampDir) {
			err := store.CreateBytes(l.t.Context(), l.store(location), key, []byte(b))
			if err != nil && !errors.Is(err, fs.ErrExist) {
				l.t.Fatal(err)
			}
		}
	}
	l.git("checkout", "-q", "main")
	return l.packageOf(o.Store, "web01")
}

// packageOf is what a store's newest release gives a host.
func (l *lab) packageOf(location, host string) schema.Candidate {
	l.t.Helper()
	st := l.store(location)
	head, err := store.Head(l.t.Context(), st)
	l.must(err)
	s, err := publish.NewReader(st, l.top(), nil).At(l.t.Context(), head)
	l.must(err)
	return s.Assignments()[host].Candidates()[0]
}

func (l *lab) monitor(location string, from int64) (*Monitoring, error) {
	l.t.Helper()
	m, err := Monitor(l.t.Context(), l.options(location), filepath.Join(l.t.TempDir(), "place"), from, io.Discard)
	l.must(err)
	return m, m.Err()
}

const downloads = "downloads: origins: [\"https://cdn.example\"]\n"

// history publishes three releases of a fleet whose hosts wait, with a revocation, users and a download origin.
func (l *lab) history(location string) {
	l.t.Helper()
	l.write("rollout.cue", "package fleet\n\nrollout: {\n\tenabled: true\n\trings: [{name: \"all\", delay: \"3d\"}]\n"+
		"\tselect: labels: role: \"frontend\"\n\trevoked: "+
		"[\"sha256:"+strings.Repeat("0a", 32)+"\"]\n}\n"+downloads)
	const hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc"
	l.write("access.cue",
		"package fleet\n\nusers: installer: {hash: \""+hash+"\", permissions: register: [\"~.*\"]}\n")
	l.publish(location, "first")
	l.disk(80)
	l.publish(location, "second")
	l.disk(70)
	l.publish(location, "third")
}

// What somebody signs who has the online keys and nobody's review is named by the monitor, and not signed by a second
// signer: the host, the field and why.
func TestWhatAThiefOfTheOnlineKeysPublishesIsNamed(t *testing.T) {
	l := newLab(t)
	l.key("audit", fleet.UsePackage)
	clean := filepath.Join(l.dir, "store")
	l.history(clean)
	if m, err := l.monitor(clean, -1); err != nil || len(m.Releases) != 3 || m.Place != 3 {
		t.Fatalf("the clean history: %v\n%s", err, m.Text())
	}
	done, err := Sign(t.Context(), l.options(clean), []string{"audit"}, io.Discard)
	if err != nil || len(done.Packages) != 4 { // three of web, one of db
		t.Fatalf("the clean history is not signed: %+v, %v", done, err)
	}
	l.now = l.now.Add(time.Hour)
	honest := l.now

	forge := func(bend func(f *forgery)) func(string) {
		return func(at string) { l.forge(at, bend) }
	}
	for name, test := range map[string]struct {
		steal func(at string)
		want  judge.Entry // Reason: a part of it
	}{
		"an older candidate of a commit that nobody reviewed": {func(at string) {
			evil := l.evil(at)
			l.forge(at, func(f *forgery) {
				old := &f.hosts["web01"].Older[0]
				evil.Release, evil.Since = old.Release, old.Since
				*old = evil
			})
		}, judge.Entry{Host: "web01", Field: "older", Reason: "was not given to it by the state before"}},
		"a release of a branch that nobody merged": {func(at string) {
			l.evil(at)
			o := l.options(at)
			o.Ref, o.CacheDir = "evil", ""
			_, err := Run(t.Context(), o, io.Discard)
			l.must(err)
		}, judge.Entry{Field: "commit", Reason: "is not an ancestor of"}},
		"a commit that does not exist": {forge(func(f *forgery) { f.release.Commit = strings.Repeat("1", 40) }),
			judge.Entry{Field: "commit", Reason: "does not exist"}},
		"a commit's branch in place of its name": {forge(func(f *forgery) { f.release.Commit = "main" }),
			judge.Entry{Field: "commit", Reason: "is not the 40 hex digits of a commit"}},
		"a commit from before what is published": {forge(func(f *forgery) {
			f.release.Commit, f.release.Tree = l.git("rev-parse", "main~1"), l.git("rev-parse", "main~1^{tree}")
		}), judge.Entry{Field: "commit", Reason: "is not a descendant of"}},
		"another tree": {forge(func(f *forgery) { f.release.Tree = strings.Repeat("2", 40) }),
			judge.Entry{Field: "tree", Reason: "the release names 222222222222"}},
		"no revocations": {forge(func(f *forgery) { f.policy.Revoked = nil }),
			judge.Entry{Field: "policy.revoked", Reason: "nothing is published, and [\"sha256:0a0a"}},
		"a ring without its delay": {forge(func(f *forgery) { f.policy.Rings = []schema.Ring{{Name: "all"}} }),
			judge.Entry{Field: "policy.rings", Reason: "[{\"delay\":\"3d\",\"name\":\"all\"}] follows"}},
		"a download origin": {forge(func(f *forgery) {
			f.policy.Downloads = &schema.Downloads{Origins: []string{"https://cdn.example", "https://evil.example"}}
		}), judge.Entry{Field: "policy.downloads.origins", Reason: "evil.example"}},
		"a deselected host that is selected": {forge(func(f *forgery) { f.hosts["db01"].Selected = true }),
			judge.Entry{Host: "db01", Field: "selected", Reason: "true is published, and false follows"}},
		"a selected host that is not": {forge(func(f *forgery) { f.hosts["web02"].Selected = false }),
			judge.Entry{Host: "web02", Field: "selected", Reason: "false is published, and true follows"}},
		"a host of another ring": {forge(func(f *forgery) { f.hosts["web02"].Ring = "" }),
			judge.Entry{Host: "web02", Field: "ring", Reason: "none is published, and all follows"}},
		"a host that is left out": {forge(func(f *forgery) { delete(f.hosts, "web02") }),
			judge.Entry{Host: "web02", Field: "host", Reason: "the commit has it"}},
		"another root": {func(at string) {
			l.must(store.CreateBytes(t.Context(), l.store(at), schema.MetadataKey("root", 2), []byte(`{"signed":{}}`)))
		}, judge.Entry{Field: "root", Reason: "the store publishes root 2, which trust/ lacks"}},
		"a user": {forge(func(f *forgery) {
			f.access.Users["mallory"] = schema.User{}
		}), judge.Entry{Field: "access.users.mallory", Reason: "is published, and the commit does not have it"}},
		"a wider permission": {forge(func(f *forgery) {
			f.access.Users["installer"].Permissions[schema.PermDownload] = []string{"~.*"}
		}), judge.Entry{Field: "access.users.installer.permissions.download", Reason: "does not have it"}},
		"an earlier since": {forge(func(f *forgery) {
			f.hosts["web01"].Since = f.hosts["web01"].Since.Add(-30 * time.Minute)
		}), judge.Entry{Host: "web01", Field: "since", Reason: "2026-03-01T15:00:00Z follows"}},
		"another release number of a package": {forge(func(f *forgery) { f.hosts["web01"].Release += 5 }),
			judge.Entry{Host: "web01", Field: "release", Reason: "8 is published, and 3 follows"}},
		"an older candidate that is dropped": {forge(func(f *forgery) { f.hosts["web01"].Older = nil }),
			judge.Entry{Host: "web01", Field: "older", Reason: "of release 2 is missing"}},
		"a number that hosts have not seen": {forge(func(f *forgery) { f.release.Number += 100 }),
			judge.Entry{Field: "release.number", Reason: "104 is published"}},
		"bytes that the commit does not yield": {func(at string) {
			evil := l.evil(at)
			l.forge(at, func(f *forgery) {
				a := f.hosts["web01"]
				a.Older = append([]schema.Candidate{a.Candidates()[0]}, a.Older[:1]...)
				a.SHA256, a.Length, a.Manifest = evil.SHA256, evil.Length, evil.Manifest
				a.Recipe, a.Release, a.Since = evil.Recipe, f.release.Number, f.release.Issued
			})
		}, judge.Entry{Host: "web01", Field: "package", Reason: "/etc/vitals.conf: "}},
		"a package of another host": {forge(func(f *forgery) {
			a, b := f.hosts["web01"], f.hosts["db01"]
			a.SHA256, a.Length, a.Manifest, a.Recipe, a.Older = b.SHA256, b.Length, b.Manifest, b.Recipe, nil
		}), judge.Entry{Host: "web01", Field: "package", Reason: "is not what commit"}},
		"a timestamp for ever": {forge(func(f *forgery) { f.life *= 100 }),
			judge.Entry{Field: "expires", Reason: "timestamp expires at"}},
		"a time of issue before the commit's": {forge(func(f *forgery) {
			f.release.Issued = f.release.Issued.Add(-40 * 24 * time.Hour)
			f.policy.Issued = f.release.Issued
		}), judge.Entry{Field: "issued", Reason: "its commit was made at"}},
	} {
		t.Run(name, func(t *testing.T) {
			needs.Alike(t)
			l.t = t
			l.now = honest
			at := filepath.Join(t.TempDir(), "store")
			l.must(os.CopyFS(at, os.DirFS(clean)))
			test.steal(at)
			m, err := l.monitor(at, -1)
			if fault.ExitCode(err) != fault.ExitRefused {
				t.Fatalf("exit code %d: %v\n%s", fault.ExitCode(err), err, m.Text())
			}
			all := m.Store
			for i, v := range m.Releases {
				if i < 3 && v.Status != judge.Clean {
					t.Errorf("before the thief came:\n%s", v.Text())
				}
				all = append(all, v.Alarms...)
			}
			if !slices.ContainsFunc(all, func(e judge.Entry) bool {
				return e.Host == test.want.Host && e.Field == test.want.Field &&
					strings.Contains(e.Reason, test.want.Reason)
			}) {
				t.Errorf("want %v:\n%s", test.want, m.Text())
			}
			if len(m.Store) == 0 && m.Place != 3 {
				t.Errorf("the place moved to %d", m.Place)
			}
			_, err = Sign(t.Context(), l.options(at), []string{"audit"}, io.Discard)
			if !fault.IsRefusal(err) || !strings.Contains(err.Error(), test.want.Field) ||
				!strings.Contains(err.Error(), test.want.Host) || !strings.Contains(err.Error(), test.want.Reason) {
				t.Errorf("the second signer says %v", err)
			}
		})
	}
}

// After a restore everything is published above what hosts have seen. That follows, and is told.
func TestARestoredStoreIsCleanAndSaysSo(t *testing.T) {
	l := newLab(t)
	at := filepath.Join(l.dir, "store")
	l.history(at)
	l.now = l.now.Add(time.Hour)
	o := l.options(at)
	o.Recovery.Seen = 20
	_, err := Run(t.Context(), o, io.Discard)
	l.must(err)
	l.disk(55)
	l.publish(at, "after the restore")
	m, err := l.monitor(at, -1)
	if err != nil || len(m.Releases) != 5 {
		t.Fatalf("%v\n%s", err, m.Text())
	}
	for i, v := range m.Releases {
		if v.Restored != (i == 3) {
			t.Errorf("%s", v.Text())
		}
	}
	if !strings.Contains(m.Text(), "timestamp 1021: release 1021 of commit "+l.git("rev-parse", "main~1")[:12]+
		", above all numbers before: clean") {
		t.Errorf("it is not told:\n%s", m.Text())
	}
}

// Keys that a next root dropped sign nothing any more, neither a release nor what hosts have already.
func TestKeysThatARootDroppedAreNamed(t *testing.T) {
	l := newLab(t)
	clean := filepath.Join(l.dir, "store")
	l.history(clean)
	l.stolen = l.ring()
	l.nextRoot()
	l.publish(clean, "other keys")
	l.now = l.now.Add(time.Hour)
	at := filepath.Join(t.TempDir(), "store")
	l.must(os.CopyFS(at, os.DirFS(clean)))
	l.forge(at, func(f *forgery) {})
	m, err := l.monitor(at, 4)
	if !fault.IsRefusal(err) || !slices.ContainsFunc(m.Releases[0].Alarms, func(e judge.Entry) bool {
		return e.Field == "root" && e.Reason == "keys signed it that root 2 does not name any more"
	}) {
		t.Errorf("%v\n%s", err, m.Text())
	}
	l.stolen = nil
	if m, err := l.monitor(clean, -1); err != nil {
		t.Errorf("the clean history: %v\n%s", err, m.Text())
	}
}

// A release of another version of the program, which may make it otherwise, is neither clean nor an alarm; but that its
// commit is not on the branch, every version can tell.
func TestWhatAnotherVersionMadeOtherwiseCannotBeJudged(t *testing.T) {
	l := newLab(t)
	l.key("audit", fleet.UsePackage)
	clean := filepath.Join(l.dir, "store")
	l.history(clean)
	l.now = l.now.Add(time.Hour)
	for name, test := range map[string]struct {
		bend func(f *forgery)
		code int
		want string
	}{
		"another version": {func(f *forgery) { f.release.Tool, f.policy.MaxHold = "9.9.9", 5 }, fault.ExitUnjudged,
			"bakehouse 9.9.9 with bake version"},
		"another bake version": {func(f *forgery) { f.release.Bake, f.policy.MaxHold = 99, 5 }, fault.ExitUnjudged,
			"with bake version 99"},
		"another commit": {func(f *forgery) { f.release.Tool, f.release.Commit = "9.9.9", strings.Repeat("1", 40) },
			fault.ExitRefused, "does not exist"},
	} {
		at := filepath.Join(t.TempDir(), "store")
		l.must(os.CopyFS(at, os.DirFS(clean)))
		l.forge(at, test.bend)
		m, err := l.monitor(at, -1)
		if fault.ExitCode(err) != test.code || !strings.Contains(m.Text(), test.want) || m.Place != 3 {
			t.Errorf("%s: exit code %d: %v\n%s", name, fault.ExitCode(err), err, m.Text())
		}
		_, err = Sign(t.Context(), l.options(at), []string{"audit"}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the second signer says %v", name, err)
		}
		// Reconcile goes on after another version, and not after an alarm.
		o := l.options(at)
		var log bytes.Buffer
		if _, err := Run(t.Context(), o, &log); (err == nil) != (test.code == fault.ExitUnjudged) {
			t.Errorf("%s: reconcile: %v", name, err)
		}
		if test.code == fault.ExitUnjudged && !strings.Contains(log.String(), "cannot judge what is published") {
			t.Errorf("%s: reconcile says\n%s", name, &log)
		}
	}
}

// Of two runs that finish in the other order, the one of the older commit changes nothing. It is told that it is older,
// and what to do, before anybody looks for a thief; so is a clone that lacks the newer commit.
func TestARunThatANewerOneOvertookTakesNoHostBack(t *testing.T) {
	l := newLab(t)
	at := filepath.Join(l.dir, "store")
	l.publish(at, "first")
	old := filepath.Join(t.TempDir(), "old")
	l.git("clone", "-q", l.repo(), old)
	l.disk(80)
	l.publish(at, "second")
	l.now = l.now.Add(time.Hour)
	before := l.objects(at)
	refused := func(what string, o Options, message, hint string) {
		t.Helper()
		for _, cache := range []string{o.CacheDir, ""} { // on the machine that published it, and on another one
			o.CacheDir = cache
			_, err := Run(t.Context(), o, io.Discard)
			if !fault.IsRefusal(err) || !strings.Contains(err.Error(), message) ||
				!strings.HasPrefix(fault.HintOf(err), hint) {
				t.Errorf("%s: %v; hint %s", what, err, fault.HintOf(err))
			}
		}
		if !maps.Equal(l.objects(at), before) {
			t.Errorf("%s: the store changed", what)
		}
	}
	o := l.options(at)
	o.Ref = "main~1"
	refused("an older commit", o, "is older than what is published", "run it at the head of the branch; to go back, "+
		"commit the reverse there (git revert)")
	o.Repo, o.Ref = old, "main"
	refused("a clone of before", o, "does not exist in the repository", "another run may have been faster: git fetch")

	// The reverse is a commit like any other.
	l.git("revert", "--no-edit", "HEAD")
	l.now = l.now.Add(time.Hour)
	if out, err := Run(t.Context(), l.options(at), io.Discard); err != nil || out.Release != 3 {
		t.Errorf("after git revert: %+v, %v", out, err)
	}
}

// What on-call does after a thief: new keys in a next root, or the same keys in safe hands again. Nothing of what the
// thief published is carried forward, and what follows is clean; what is built upon it knowingly is not.
func TestAfterAThiefTheCommitAloneIsPublished(t *testing.T) {
	l := newLab(t)
	l.key("audit", fleet.UsePackage)
	clean := filepath.Join(l.dir, "store")
	l.history(clean)
	stolen := func() string {
		t.Helper()
		at := filepath.Join(t.TempDir(), "store")
		l.must(os.CopyFS(at, os.DirFS(clean)))
		l.now = l.now.Add(time.Hour)
		evil := l.evil(at)
		o := l.options(at)
		o.Ref, o.CacheDir = "evil", ""
		_, err := Run(t.Context(), o, io.Discard)
		l.must(err)
		if l.packageOf(at, "web01").SHA256 != evil.SHA256 {
			t.Fatal("the thief's package is not published")
		}
		l.now = l.now.Add(time.Hour)
		if _, err := Run(t.Context(), l.options(at), io.Discard); !fault.IsRefusal(err) ||
			!strings.Contains(fault.HintOf(err), "recover --after-alarm") {
			t.Fatalf("reconcile says %v", err)
		}
		return at
	}
	judged := func(at string, from int64, good string) {
		t.Helper()
		m, err := l.monitor(at, from)
		text := m.Text()
		if fault.ExitCode(err) != fault.ExitRefused || len(m.Releases) != int(5-from) ||
			m.Releases[3-from].Status != judge.Alarm || m.Releases[4-from].Status != good {
			t.Errorf("want %s in the end: %v\n%s", good, err, text)
		}
		_, err = Sign(t.Context(), l.options(at), []string{"audit"}, io.Discard)
		if (err == nil) != (good == judge.Clean) {
			t.Errorf("the second signer says %v", err)
		}
	}

	at := stolen()
	o := l.options(at)
	o.Recovery.Expired = true
	_, err := Run(t.Context(), o, io.Discard)
	l.must(err)
	judged(at, 0, judge.Clean)
	if m, err := l.monitor(at, 4); err != nil || m.Place != 5 {
		t.Errorf("once somebody has looked: %v\n%s", err, m.Text())
	}

	// A second publisher that judges nothing builds upon it: what the thief gave stays a candidate, and doubtful.
	at = stolen()
	l.disk(65)
	l.commit("fourth")
	o = l.options(at)
	p, err := o.reader(t.Context(), io.Discard)
	l.must(err)
	l.must(p.head.Evaluate(t.Context()))
	s, err := publish.Read(t.Context(), p.store, p.head.Fleet, l.now)
	l.must(err)
	fresh := o
	fresh.Store, fresh.Init = filepath.Join(t.TempDir(), "fresh"), true
	_, err = Run(t.Context(), fresh, io.Discard)
	l.must(err)
	for key, b := range l.objects(fresh.Store) {
		if strings.HasPrefix(key, schema.ManifestDir) || strings.HasPrefix(key, schema.SegmentDir) {
			_ = store.CreateBytes(t.Context(), p.store, key, []byte(b))
		}
	}
	want, err := p.head.Wanted(nil, l.tool, l.now)
	l.must(err)
	for i := range want.Assignments {
		a := &want.Assignments[i]
		c := l.packageOf(fresh.Store, a.Host)
		a.SHA256, a.Length, a.Manifest, a.Recipe = c.SHA256, c.Length, c.Manifest, c.Recipe
	}
	_, err = s.Publish(t.Context(), p.store, l.ring(), want)
	l.must(err)
	judged(at, 0, judge.Alarm)

	at = stolen()
	l.nextRoot()
	l.commit("other keys")
	_, err = Run(t.Context(), l.options(at), io.Discard)
	l.must(err)
	judged(at, 0, judge.Clean)
}
