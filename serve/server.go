package serve

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/store"
)

// Inventory is what a server remembers; *inventory.DB is one.
type Inventory interface {
	Secret(ctx context.Context, host string) (schema.Digest, error) // fs.ErrNotExist: not registered
	Register(ctx context.Context, r inventory.Registration) error   // durable; replaces
	Report(host string, s inventory.Seen) error                     // does not block
	Remember(ctx context.Context, host string, p inventory.Package, at time.Time) error
	Packages(ctx context.Context, host string) ([]inventory.Package, error)
	Ping(ctx context.Context) error
}

// Options of a server. All but Log must be given.
type Options struct {
	Store     store.Store
	Inventory Inventory
	Anchor    []byte // the root from which releases are verified
	Log       *slog.Logger
}

// Server answers hosts and users from one store. Make it with New.
type Server struct {
	store     store.Store
	inventory Inventory
	log       *slog.Logger
	releases  *watcher
	users     *limit.Gate
	timeouts  timeouts
	speaks    schema.Versions
	nobody    schema.Digest // stands in for the secret of an unknown host

	manifests *cache[schema.Digest, *packed]
	metadata  *cache[encoding, []byte]
	deflating chan struct{} // bounds how many encodings are computed at once
}

type timeouts struct{ header, body time.Duration }

// Bounds of the caches, in bytes.
const (
	manifestCache = 64 << 20
	metadataCache = 64 << 20
)

// New verifies the store's release and returns a server for it.
func New(ctx context.Context, o Options) (*Server, error) {
	l, err := newLoader(o.Store, o.Anchor)
	if err != nil {
		return nil, err
	}
	return newServer(ctx, o, l)
}

func newServer(ctx context.Context, o Options, l *loader) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		store: o.Store, inventory: o.Inventory, log: o.Log,
		users:     limit.NewGate(o.Log),
		timeouts:  timeouts{header: headerTimeout, body: bodyTimeout},
		speaks:    schema.WireVersions(),
		nobody:    randomDigest(),
		manifests: newCache[schema.Digest, *packed](manifestCache),
		metadata:  newCache[encoding, []byte](metadataCache),
		deflating: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	s.releases = &watcher{loader: l, changed: s.announce}
	if err := s.releases.follow(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) announce(r *release) {
	s.users.Prepare(r.access)
	s.log.Info("release", "timestamp", r.timestamp, "root", r.root, "hosts", len(r.hosts), "expires", r.expires)
	if !time.Now().Before(r.expires) {
		s.log.Warn("the timestamp is expired: hosts install nothing new until bakehouse reconcile has run", "expires", r.expires)
	}
}

// Watch follows the store's head until ctx ends.
func (s *Server) Watch(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.noteTrouble(s.releases.tick(ctx))
		}
	}
}

func (s *Server) noteTrouble(err error) {
	if err != nil {
		s.log.Error("the store's head is not served; the last verified release is", "error", err, "hint", fault.HintOf(err))
	}
}

// HTTPServer returns a server with its limits set; the caller adds the listener and TLS.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.timeouts.header, // also bounds the TLS handshake
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // handshakes of scanners, mostly
	}
}

// Handler routes requests.
func (s *Server) Handler() http.Handler {
	routes := http.NewServeMux()
	handle := func(pattern string, h func(*exchange, *http.Request)) {
		routes.Handle(pattern, exchanges(s.log, s.timeouts, h))
	}
	handle("GET "+schema.MetadataPath+"{name}", s.asHost(s.serveMetadata))
	handle("GET "+schema.TreePath+"{digest}", s.asHost(s.serveTree))
	handle("GET "+schema.TargetPath+"{path...}", s.asHost(s.serveTarget))
	handle("GET "+schema.ManifestPath+"{digest}", s.asHost(s.serveManifest))
	handle("GET "+schema.SegmentPath+"{digest}", s.asHost(s.serveSegment))
	handle("POST "+schema.PollPath, s.asHost(s.servePoll))
	handle("POST "+schema.RegisterPath, s.asUser(s.serveRegister))
	handle("GET "+schema.PackagePath+"{host}", s.asUser(s.serveDownload))
	handle("GET "+schema.HealthPath, s.serveHealth)
	handle(schema.LogPath, func(x *exchange, _ *http.Request) { x.notFound() })
	handle("/", func(x *exchange, _ *http.Request) { x.notFound() })
	return routes
}

// health is the body of HealthPath. Problem names no paths: anybody may read it.
type health struct {
	Status    string `json:"status"` // ok, degraded or failing
	Timestamp int64  `json:"timestamp"`
	Root      int64  `json:"root"`
	Problem   string `json:"problem,omitempty"`
}

// serveHealth answers 200 as long as hosts can be served, even by an old release: taking the server away would not help.
func (s *Server) serveHealth(x *exchange, r *http.Request) {
	rel, trouble := s.releases.now()
	h := health{Status: "ok", Timestamp: rel.timestamp, Root: rel.root}
	status := http.StatusOK
	switch {
	case s.inventory.Ping(r.Context()) != nil:
		h.Status, h.Problem, status = "failing", "the inventory database does not answer", http.StatusServiceUnavailable
	case trouble != "":
		h.Status, h.Problem = "degraded", "the store's head is unreadable, altered or older than what is served; the last verified release is served"
	case !time.Now().Before(rel.expires):
		h.Status, h.Problem = "degraded", "the timestamp is expired: hosts install nothing new until bakehouse reconcile has run"
	}
	x.Header().Set("Cache-Control", "no-store")
	x.answer(status, h)
}
