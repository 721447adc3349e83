package status

import (
	"embed"
	"net/http"
	"path"
	"strings"

	"bakehouse/schema"
)

//go:embed web
var web embed.FS

// asset is a file that never changes under its name.
type asset struct {
	path, contentType string
	plain, gzipped    []byte
}

// assetPath is where the assets are.
const assetPath = "/assets/"

// assets are by their names in web/.
var assets = readAssets(map[string]string{
	"style.css": "text/css; charset=utf-8",
	"page.js":   "text/javascript; charset=utf-8",
	"mark.svg":  "image/svg+xml",
})

func readAssets(types map[string]string) map[string]*asset {
	found := map[string]*asset{}
	for name, contentType := range types {
		b, err := web.ReadFile("web/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		base, ext := strings.TrimSuffix(name, path.Ext(name)), path.Ext(name)
		found[name] = &asset{path: assetPath + base + "." + schema.DigestOf(b).Short() + ext,
			contentType: contentType, plain: b, gzipped: zipped(b)}
	}
	return found
}

// assetURL is where an asset of web/ is.
func assetURL(name string) string { return assets[name].path }

// serveAsset answers with a file that may be kept for good, as another one has another name.
func serveAsset(w http.ResponseWriter, r *http.Request) bool {
	for _, a := range assets {
		if a.path != r.URL.Path {
			continue
		}
		w.Header().Set("Content-Type", a.contentType)
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		write(w, r, http.StatusOK, a.plain, a.gzipped)
		return true
	}
	return false
}
