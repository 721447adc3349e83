package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"bakehouse/agent/trust/trusttest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// tuf runs the command as the conformance suite does, against a real server. What the verifier makes of each
// repository is shown in agent/trust; here, what of it the command line shows.
type tuf struct {
	t                      *testing.T
	r                      *trusttest.Repo
	url, metadata, targets string
}

func newTUF(t *testing.T) *tuf {
	t.Helper()
	t.Setenv("FAKETIME", "")
	r := trusttest.New(time.Now())
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	c := &tuf{t, r, s.URL, filepath.Join(t.TempDir(), "metadata"), filepath.Join(t.TempDir(), "targets")}
	root := filepath.Join(t.TempDir(), "initial_root.json")
	if err := os.WriteFile(root, r.Latest(metadata.ROOT), 0o600); err != nil {
		t.Fatal(err)
	}
	c.exits(0, "--metadata-dir", c.metadata, "init", root)
	return c
}

func (c *tuf) exits(want int, args ...string) {
	c.t.Helper()
	if got := run(c.t.Context(), args); got != want {
		c.t.Errorf("%q: exit code %d, want %d", args, got, want)
	}
}

func (c *tuf) refresh(want int, args ...string) {
	c.t.Helper()
	c.exits(want, append(args, "--metadata-url", c.url+"/metadata/", "--metadata-dir", c.metadata, "refresh")...)
}

func (c *tuf) download(want int, targets ...string) {
	c.t.Helper()
	args := []string{"--metadata-url", c.url + "/metadata", "--metadata-dir", c.metadata}
	for _, target := range targets {
		args = append(args, "--target-name", target)
	}
	c.exits(want, append(args, "--target-dir", c.targets, "--target-base-url", c.url+"/targets/", "download")...)
}

func (c *tuf) files(dir string, want ...string) {
	c.t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	var got []string
	for _, e := range es {
		if dir != c.metadata || filepath.Ext(e.Name()) == ".json" {
			got = append(got, e.Name())
		}
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("%s holds %q, want %q", filepath.Base(dir), got, want)
	}
}

func TestTheClientRefreshes(t *testing.T) {
	c := newTUF(t)
	c.files(c.metadata, "root.json")
	c.refresh(0)
	c.files(c.metadata, "root.json", "snapshot.json", "targets.json", "timestamp.json")
	c.r.Signers[metadata.SNAPSHOT] = nil
	c.r.PublishAll()
	c.refresh(1)
	c.r.Forget(metadata.TIMESTAMP)
	c.refresh(1)
}

func TestTheClientDownloads(t *testing.T) {
	c := newTUF(t)
	c.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "../odd ?", Paths: []string{"*/*"}})
	c.r.Add("../odd ?", "path/to it?", "content")
	c.r.Add(metadata.TARGETS, "other", "other content")
	c.r.PublishAll("../odd ?", metadata.TARGETS)
	c.download(1, "missing")
	c.files(c.targets)
	c.download(0, "path/to it?", "other")
	c.files(c.metadata, "..%2Fodd%20%3F.json", "root.json", "snapshot.json", "targets.json", "timestamp.json")
	c.files(c.targets, "other", "path%2Fto%20it%3F")
	if b, err := os.ReadFile(filepath.Join(c.targets, "path%2Fto%20it%3F")); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	if _, fetched := c.r.Asked(); len(fetched) != 2 {
		t.Errorf("fetched %q", fetched)
	}
	c.download(0, "path/to it?", "other")
	if _, fetched := c.r.Asked(); len(fetched) != 0 {
		t.Errorf("fetched %q again", fetched)
	}
	c.download(1, "other", "missing")
	c.r.Serve("other", "something else")
	c.download(0, "other")
}

func TestTheClientIsToldTheTime(t *testing.T) {
	c := newTUF(t)
	later := 40 * 24 * time.Hour
	c.refresh(0)
	c.refresh(1, "--time", strconv.FormatInt(time.Now().Add(later).Unix(), 10))
	c.refresh(0, "--time", strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10))
	t.Setenv("FAKETIME", strconv.FormatInt(int64(later/time.Second), 10))
	c.refresh(1)
	c.refresh(0, "--time", strconv.FormatInt(time.Now().Unix(), 10))
	t.Setenv("FAKETIME", "tomorrow")
	c.refresh(1)
}

func TestTheClientUsage(t *testing.T) {
	c := newTUF(t)
	root := filepath.Join(c.metadata, "root.json")
	for _, args := range [][]string{
		{},
		{"nothing"},
		{"init", root},
		{"--metadata-dir", c.metadata, "init"},
		{"--metadata-dir", c.metadata, "init", root, root},
		{"--metadata-dir", c.metadata, "init", filepath.Join(c.metadata, "absent")},
		{"--metadata-dir", "", "init", root},
		{"--metadata-dir", c.metadata, "refresh"},
		{"--metadata-url", c.url, "refresh"},
		{"--metadata-dir", c.metadata, "--metadata-url", c.url, "refresh", "more"},
		{"--metadata-dir", c.metadata, "--metadata-url", c.url + "/metadata", "download"},
		{"--metadata-dir", c.metadata, "--metadata-url", c.url + "/metadata", "--target-name", "x",
			"--target-dir", c.targets, "download"},
		{"--metadata-dir", c.metadata, "--metadata-url", c.url + "/metadata", "--time", "noon", "refresh"},
		{"--metadata-dir", filepath.Join(c.targets, "never initialised"),
			"--metadata-url", c.url + "/metadata", "refresh"},
		{"--metadata-dir", c.metadata, "--metadata-url", "http://127.0.0.1:1", "refresh"},
		{"--metadata-dir", c.metadata, "--metadata-url", "no URL\x7f", "refresh"},
	} {
		c.exits(1, args...)
	}
	if asked, _ := c.r.Asked(); len(asked) != 0 {
		t.Errorf("asked for %q", asked)
	}
}
