package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

func TestHostFollowsItsPackageFromReleaseToRelease(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	r.mustUpdate(dir, "web01", "web01 first")
	r.Now = r.Now.Add(time.Hour)
	r.assign("web01", "web01 second", 2)
	r.Release(r.Bin("web01"))
	r.mustUpdate(dir, "web01", "web01 second")
	r.mustUpdate(dir, "db01", "db01 first")
}

func TestUnchangedFilesAreNotFetchedAgain(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	r.mustUpdate(dir, "web01", "web01 first")
	r.asked()
	r.mustUpdate(dir, "web01", "web01 first")
	if got, want := r.asked(), []string{"2.root.json", timestampFile}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	c := r.open(dir)
	if err := c.Refresh(t.Context(), r, c.Timestamp()); err != nil {
		t.Fatal(err)
	}
	if got, want := r.asked(), []string{"2.root.json"}; !slices.Equal(got, want) {
		t.Errorf("with the held timestamp: asked for %q, want %q", got, want)
	}
}

func TestPolicyIsKnownBeforeTheServerIsAsked(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	if c := r.open(dir); c.Policy() != nil || c.Timestamp() != nil {
		t.Error("a new host knows a policy")
	}
	r.mustUpdate(dir, "web01", "web01 first")
	r.Now = r.Now.Add(400 * day)
	c := r.open(dir)
	if p := c.Policy(); p == nil || p.Sites["central"].URL != "https://bakehouse.example" {
		t.Errorf("policy after a restart: %+v", p)
	}
	if _, err := c.Assignment(t.Context(), r, "web01"); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("an assignment without a refresh: %v", err)
	}
}

func TestHostWithoutPackageIsTold(t *testing.T) {
	r := newRepo(t)
	if _, err := r.update("", "nobody"); !errors.Is(err, ErrNoTarget) {
		t.Errorf("got %v", err)
	}
	if _, err := r.update("", "../web01"); err == nil || errors.Is(err, ErrNoTarget) {
		t.Errorf("a malformed host name: %v", err)
	}
}

func TestAllYieldsEveryHostOnce(t *testing.T) {
	r := newRepo(t)
	for i := range 40 {
		r.assign(fmt.Sprintf("host%02d", i), "x", 1)
	}
	r.Release("bin-0", "bin-1", "bin-2", "bin-3")
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for a, err := range c.All(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		if got[a.Host] {
			t.Errorf("%s comes twice", a.Host)
		}
		got[a.Host] = true
		if c.BinOf(a.Host) != r.Bin(a.Host) {
			t.Errorf("bin of %s is %s, want %s", a.Host, c.BinOf(a.Host), r.Bin(a.Host))
		}
	}
	if len(got) != 43 {
		t.Errorf("%d hosts, want 43", len(got))
	}
}

func TestAServerReadsOnlyTheBinsThatAReleaseChanged(t *testing.T) {
	r := newRepo(t)
	for i := range 40 {
		r.assign(fmt.Sprintf("host%02d", i), "x", 1)
	}
	r.Release("bin-0", "bin-1", "bin-2", "bin-3")
	c := r.open("")
	bins := func(content string) (asked []string) {
		t.Helper()
		r.asked()
		if err := c.Refresh(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		hosts := map[string]schema.Digest{}
		for a, err := range c.All(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			hosts[a.Host] = a.SHA256
		}
		if want := schema.DigestOf([]byte(content)); len(hosts) != 43 || hosts["web01"] != want {
			t.Errorf("%d hosts, web01 is given %s, want 43 and %s", len(hosts), hosts["web01"], want)
		}
		for _, name := range r.asked() {
			if strings.Contains(name, ".bin-") {
				asked = append(asked, name)
			}
		}
		return asked
	}
	if got := bins("web01 first"); len(got) != 4 {
		t.Errorf("at first: %q", got)
	}
	r.assign("web01", "web01 second", 2)
	r.Release(r.Bin("web01"))
	if got := bins("web01 second"); len(got) != 1 || !strings.HasSuffix(got[0], r.Bin("web01")+".json") {
		t.Errorf("one bin changed: %q", got)
	}
	// Who may sign bins has changed, so each is judged anew.
	k, d := trusttest.NewKey(), r.top().Signed.Delegations
	d.Keys[k.ID()], d.SuccinctRoles.KeyIDs = k.Pub, append(d.SuccinctRoles.KeyIDs, k.ID())
	r.Release()
	if got := bins("web01 second"); len(got) != 4 {
		t.Errorf("with another key: %q", got)
	}
}

func TestRootsAreWalkedToTheEnd(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	r.mustUpdate(dir, "web01", "web01 first")
	r.rotate("root")
	r.rotate("timestamp")
	r.rotate("targets")
	r.Release()
	r.mustUpdate(dir, "web01", "web01 first")
	c := r.open(dir)
	if root, stamp := c.Versions(); root != 4 || stamp != 2 {
		t.Errorf("root %d, timestamp %d; want 4 and 2", root, stamp)
	}
	for v := 1; v <= 4; v++ {
		if !c.HasRoot(schema.DigestOf(r.Files[fmt.Sprintf("%d.root.json", v)])) {
			t.Errorf("root %d is not in the chain", v)
		}
	}
	if c.HasRoot(schema.DigestOf([]byte("another fleet's"))) {
		t.Error("an unknown root is in the chain")
	}
}

func TestBinOfMayBeAskedWhileAllLoadsTheBins(t *testing.T) {
	r := newRepo(t)
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // only the race detector can tell; without it, a map written while it is read may crash
		defer close(done)
		for range 1000 {
			if c.BinOf("web01") == "" {
				t.Error("no bin")
				return
			}
		}
	}()
	for _, err := range c.All(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
	}
	<-done
}
