package publish

import (
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// A TUF client that knows nothing of Bakehouse follows the roots, refreshes, and fetches a host's package.
func TestStockClientDownloadsAPackage(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	now := time.Now() // the stock client has no other clock
	packages := map[string]string{}
	for _, pkg := range []string{"package one", "package two"} {
		packages[schema.DigestOf([]byte(pkg)).Hex()] = pkg
	}
	f.now = now
	f.remakeRoot()
	f.mustPublish(st, next(now, want("web01", "package one"), want("db.example", "package two")))
	f.rotate("snapshot")
	f.mustPublish(st, next(now, want("web01", "package one"), want("db.example", "package two")))

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := strings.CutPrefix(r.URL.Path, schema.MetadataPath); ok {
			key := schema.MetadataDir + name
			if name == "timestamp.json" {
				head, err := store.Head(r.Context(), st)
				if err != nil {
					t.Error(err)
				}
				key = schema.TimestampKey(head)
			}
			b, err := store.Read(r.Context(), st, key, schema.MaxTargets)
			if err != nil {
				http.NotFound(w, r)
				return
			}
			w.Write(b)
			return
		}
		hex, ok := strings.CutSuffix(path.Base(r.URL.Path), ".package")
		if pkg := packages[hex]; ok && pkg != "" && strings.HasPrefix(r.URL.Path, schema.TargetPath) {
			w.Write([]byte(pkg))
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()

	for host, pkg := range map[string]string{"web01": "package one", "db.example": "package two"} {
		cfg, err := config.New(server.URL+strings.TrimSuffix(schema.MetadataPath, "/"), f.Roots[0])
		if err != nil {
			t.Fatal(err)
		}
		cfg.LocalMetadataDir, cfg.LocalTargetsDir = t.TempDir(), t.TempDir()
		cfg.RemoteTargetsURL = server.URL + schema.TargetPath
		if err := cfg.SetDefaultFetcherRetry(0, 1); err != nil {
			t.Fatal(err)
		}
		u, err := updater.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Refresh(); err != nil {
			t.Fatalf("refresh: %v", err)
		}
		info, err := u.GetTargetInfo(schema.PackageTarget(host))
		if err != nil {
			t.Fatalf("target of %s: %v", host, err)
		}
		_, b, err := u.DownloadTarget(info, "", "")
		if err != nil || string(b) != pkg {
			t.Errorf("download for %s: %q, %v", host, b, err)
		}
		if _, err := u.GetTargetInfo(schema.PackageTarget("nobody")); err == nil {
			t.Error("a host that is not there has a package")
		}
	}
}
