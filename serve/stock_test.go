package serve

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	tufconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"bakehouse/schema"
)

// withCredentials is the one thing that a stock client must be given: the host's name and secret.
type withCredentials struct {
	http.RoundTripper
	c caller
}

func (t withCredentials) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(t.c.name, t.c.secret)
	return t.RoundTripper.RoundTrip(r)
}

func TestGoTUFsOwnClientRefreshesAndDownloadsTheHostsPackage(t *testing.T) {
	f, packs := standardFleet(t)
	f.publish()
	w := start(t, f)
	config, err := tufconfig.New(w.http.URL+schema.MetadataPath, f.Anchor)
	check(t, err)
	check(t, config.SetDefaultFetcherTransport(withCredentials{w.http.Client().Transport, w.register("web01")}))
	check(t, config.SetDefaultFetcherRetry(time.Millisecond, 1)) // it also retries the 404 of the next root
	config.RemoteTargetsURL = w.http.URL + schema.TargetPath
	config.LocalMetadataDir, config.LocalTargetsDir = t.TempDir(), t.TempDir()
	client, err := updater.New(config)
	check(t, err)
	check(t, client.Refresh())
	for name, want := range map[string][]byte{schema.PackageTarget("web01"): packs["web01"].bytes, schema.PolicyTarget: nil} {
		target, err := client.GetTargetInfo(name)
		check(t, err)
		_, got, err := client.DownloadTarget(target, "", "")
		if err != nil || want != nil && !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}
