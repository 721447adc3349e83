package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/uplink"
	"bakehouse/serve/audit"
	"bakehouse/serve/cache"
	"bakehouse/serve/desk"
	"bakehouse/serve/doctor"
	"bakehouse/serve/encode"
	"bakehouse/serve/hosts"
	"bakehouse/serve/hosts/live"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/metrics"
	"bakehouse/serve/notice"
	"bakehouse/serve/origin"
	"bakehouse/serve/publishing"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/sites"
	"bakehouse/serve/status"
	"bakehouse/serve/status/people"
	"bakehouse/serve/store"
	"bakehouse/serve/upstream"
	"bakehouse/serve/view/build"
)

// Certificate is what the server presents; *certificate.Certificate is one.
type Certificate interface {
	Look()                                           // at its files, for what changed
	Problem(urls []string, now time.Time) (s string) // why hosts that call the server so refuse it; empty: they do not
}

// Options of a server. Store, Inventory and Anchor must be given.
type Options struct {
	Store     store.Store
	Inventory Inventory
	Anchor    []byte // the root from which releases are verified
	Log       *slog.Logger

	Site        *upstream.Site // what makes the server a remote site, whose store Store is; nil: it is the centre
	Certificate Certificate
	Version     string    // of this program, for people
	Audit       io.Writer // takes the audit log, too, as lines of JSON; may be nil
}

// Server answers hosts and users from one store. Make it with New.
type Server struct {
	store     store.Store
	inventory Inventory
	log       *slog.Logger
	releases  *origin.Follower
	users     *limit.Gate
	pages     *status.Pages
	source    *build.Source // of what people are answered
	requests  metrics.Requests
	live      *live.Live // stands before the inventory
	rollout   *rollouts
	stepped   time.Time // the rollout and the sites, by Watch alone
	silent    map[string]time.Time
	guesses   *limit.Failures // of join tokens
	audit     *audit.Log
	desk      *desk.Desk
	sites     *sites.Registry
	publishes *publishing.Users
	site      *upstream.Site // nil: this is the centre
	timeouts  timeouts
	cert      Certificate // may be nil
	speaks    schema.Versions
	nobody    schema.Digest // stands in for the secret of an unknown host

	machines    *notice.Machines
	gone        notice.Gone
	certMu      sync.Mutex
	certProblem string // told last

	manifests *cache.Cache[schema.Digest, *packed]
	metadata  *encode.Files
}

type timeouts struct{ header, body time.Duration }

var usualTimeouts = timeouts{header: headerTimeout, body: bodyTimeout}

// manifestCache bounds the manifests in memory, in bytes.
const manifestCache = 64 << 20

// New verifies the store's release and returns a server for it.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		store: o.Store, log: o.Log, cert: o.Certificate, site: o.Site,
		live:      live.New(o.Inventory, o.Log, time.Now),
		users:     limit.NewGate(o.Log),
		guesses:   limit.NewFailures(),
		audit:     audit.New(o.Inventory, o.Audit, o.Log),
		timeouts:  usualTimeouts,
		speaks:    schema.WireVersions(),
		nobody:    randomDigest(),
		manifests: cache.New[schema.Digest, *packed](manifestCache),
	}
	s.inventory = followed{o.Inventory, s.live}
	s.sites = sites.New(o.Inventory, o.Log, time.Now)
	s.machines = notice.NewMachines(o.Log, s.inventory)
	s.publishes = publishing.For(o.Store, o.Anchor, o.Log, s.audit)
	s.desk = &desk.Desk{Inventory: s.inventory, Audit: s.audit, Now: time.Now,
		Release: func() *origin.Release { rel, _ := s.releases.Now(); return rel }}
	anchor := schema.DigestOf(o.Anchor)
	served, err := o.Inventory.Served(ctx, anchor)
	if err != nil {
		return nil, err
	}
	record := func(m store.Mark) {
		err := s.inventory.Serve(context.WithoutCancel(ctx), inventory.Served{Anchor: anchor, Timestamp: m.Version,
			File: m.Timestamp, At: time.Now()})
		if err != nil {
			s.log.Error("inventory", "error", err)
		}
	}
	watch := origin.Watch{Changed: s.announce, Record: record}
	verdicts, census := keeper.Store(o.Inventory), func() *rollout.Census {
		if !s.live.Loaded() {
			return nil
		}
		return keeper.Count(s.live.Table)
	}
	if s.site != nil {
		watch.Failed, watch.Own = s.site.Failed, s.site.Own
		verdicts, census = s.site, func() *rollout.Census { return nil } // what is not known opens nothing
	}
	mark := store.Mark{Version: served.Timestamp, Timestamp: served.File}
	s.releases, err = origin.New(o.Store, o.Anchor, mark, watch)
	if err != nil {
		return nil, err
	}
	s.metadata = encode.New(o.Store, s.releases.Sum)
	if s.rollout, err = openRollouts(ctx, verdicts, s.live, census, o.Log); err != nil {
		return nil, err
	}
	s.desk.Rollout = s.rollout.verdicts
	s.source = &build.Source{Release: s.releases.Now, Hosts: s.live.Table, Inventory: s.inventory, Store: s.store,
		Program: o.Version, Rollout: s.rollout.verdicts.Of, Findings: s.findings, Sites: s.sites.Contacts}
	s.pages, err = people.Pages(ctx, s.source, s.checkUser, o.Inventory, s.audit, s.log)
	if err != nil {
		return nil, err
	}
	err = s.releases.Follow(ctx)
	if err != nil && s.site != nil && s.releases.Follow(ctx) == nil { // what it had before
		s.noteTrouble(err)
		err = nil
	}
	if err != nil {
		if rel, _ := s.releases.Now(); rel == nil {
			return nil, err
		}
		s.noteTrouble(err)
	}
	if !s.live.Loaded() {
		return nil, errors.New("the hosts that are registered cannot be read from the inventory")
	}
	s.noteSites(ctx)
	s.noteCertificate()
	return s, nil
}

func (s *Server) announce(r *origin.Release) {
	if s.site != nil {
		s.site.Taken(r)
	}
	s.users.Prepare(r.Access)
	s.rollout.publish(r)
	s.log.Info("release", "timestamp", r.Timestamp, "root", r.Root, "hosts", len(r.Hosts), "expires", r.Expires)
	if !time.Now().Before(r.Expires) {
		s.log.Warn("the timestamp is expired: hosts install nothing new until bakehouse reconcile has run", "expires",
			r.Expires)
	}
}

// Watch follows the store's head until ctx ends.
func (s *Server) Watch(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for last := (*origin.Release)(nil); ; {
		if rel, _ := s.releases.Now(); rel != last {
			last = rel
			debug.FreeOSMemory() // verifying a large release leaves more behind than the release has
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.look(ctx)
		}
	}
}

// look follows what changes outside: the store's head, and the certificate.
func (s *Server) look(ctx context.Context) {
	s.noteTrouble(s.releases.Tick(ctx))
	if now := time.Now(); now.Sub(s.stepped) >= stepEvery {
		s.stepped = now
		s.noteSites(ctx)
		s.rollout.step(ctx)
	}
	if s.cert != nil {
		s.cert.Look()
		s.noteCertificate()
	}
}

// noteSites tells the table of hosts which sites are silent.
func (s *Server) noteSites(ctx context.Context) {
	contacts, err := s.sites.Contacts(ctx)
	if err != nil {
		s.log.Error("inventory", "error", err)
		return
	}
	silent := sites.Silent(contacts, time.Now())
	for name, at := range silent {
		if s.silent[name].IsZero() {
			s.log.Warn("a site is silent: its hosts are not known", "site", name, "heard", at)
		}
	}
	for name := range s.silent {
		if silent[name].IsZero() {
			s.log.Info("a site is heard of again", "site", name)
		}
	}
	if !maps.EqualFunc(silent, s.silent, time.Time.Equal) {
		s.live.Table.Sites(silent)
	}
	s.silent = silent
}

// certificateProblem says why hosts refuse the certificate, if they do.
func (s *Server) certificateProblem() string {
	if s.cert == nil {
		return ""
	}
	rel, _ := s.releases.Now()
	var urls []string
	for _, name := range slices.Sorted(maps.Keys(rel.Policy.Sites)) {
		if s.site != nil && s.site.Name() != name {
			continue
		}
		urls = append(urls, rel.Policy.Sites[name].URL)
	}
	return s.cert.Problem(urls, time.Now())
}

// noteCertificate logs what is wrong with the certificate, once.
func (s *Server) noteCertificate() {
	problem := s.certificateProblem()
	s.certMu.Lock()
	defer s.certMu.Unlock()
	if problem != s.certProblem && problem != "" {
		s.log.Warn(problem, "hint", "get one that names the host of the fleet's url as subjectAltName, and is valid")
	}
	s.certProblem = problem
}

func (s *Server) noteTrouble(err error) {
	if err != nil {
		s.log.Error("the store's head is not served; the last verified release is", "error", err, "hint",
			fault.HintOf(err))
	}
}

// HTTPServer returns a server with its limits set; the caller adds the listener and TLS.
func (s *Server) HTTPServer() *http.Server { return httpServer(s.Handler(), s.timeouts, s.log) }

func httpServer(h http.Handler, t timeouts, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: t.header, // also bounds the TLS handshake
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // handshakes of scanners, mostly
	}
}

// Handler routes requests.
func (s *Server) Handler() http.Handler {
	routes := http.NewServeMux()
	handle := func(pattern string, h func(*exchange, *http.Request)) {
		routes.Handle(pattern, exchanges(s.log, s.timeouts, &s.requests, h))
	}
	handle("GET "+schema.MetadataPath+"{name}", s.asAnyone(openMetadata, s.serveMetadata))
	handle("GET "+schema.TreePath+"{digest}", s.asHost(s.serveTree))
	handle("GET "+schema.TargetPath+"{path...}", s.asAnyone(openTarget, s.serveTarget))
	handle("GET "+schema.ManifestPath+"{digest}", s.asHost(s.serveManifest))
	handle("GET "+schema.SegmentPath+"{digest}", s.asHost(s.serveSegment))
	handle("POST "+schema.PollPath, s.asHost(s.servePoll))
	if s.site != nil {
		handle("POST "+schema.RegisterPath, s.forwardRegister)
		handle("POST "+schema.UnregisterPath, s.asHost(s.forwardUnregister))
		handle("GET "+schema.HealthPath, s.serveHealth)
		handle("GET "+schema.ReadyPath, s.serveReady)
		handle("/", s.misdirected)
		return routes
	}
	handle("POST "+schema.RegisterPath, s.asRegistrar(s.serveRegister))
	handle("POST "+schema.UnregisterPath, s.asHost(s.serveUnregister))
	handle("POST "+uplink.PollPath, s.asSite(s.serveSitePoll))
	handle("POST "+uplink.AdoptPath, s.asSite(s.serveAdopt))
	handle("POST "+uplink.RegisterPath, s.asSite(s.serveForwarded))
	people := counter{s.desk, s.log}
	handle("GET "+schema.RolloutPath, s.asUser(people.rollout))
	handle("POST "+schema.RolloutPath, s.asUser(people.actOnRollout))
	handle("GET "+schema.TokensPath, s.asUser(people.tokens))
	handle("POST "+schema.TokensPath, s.asUser(people.createToken))
	handle("DELETE "+schema.TokensPath+"/{id}", s.asUser(people.revokeToken))
	handle("POST "+schema.HostsPath+"{host}/revoke", s.asUser(people.revoke))
	handle("DELETE "+schema.HostsPath+"{host}", s.asUser(people.forget))
	handle("GET "+schema.AuditPath, s.asUser(people.events))
	handle(schema.StorePath, s.asUser(func(x *exchange, r *http.Request, by audit.Actor) {
		s.publishes.Serve(x, r, by)
	}))
	handle("GET "+schema.PackagePath+"{host}", s.asUser(s.serveDownload))
	handle("GET "+schema.HealthPath, s.serveHealth)
	handle("GET "+schema.ReadyPath, s.serveReady)
	handle("GET "+schema.MetricsPath, s.asUser(s.serveMetrics))
	handle(schema.LogPath, func(x *exchange, _ *http.Request) { x.notFound() })
	handle("GET /hosts/{host}/package", s.serveDownloadLink)
	for _, pattern := range status.Patterns {
		handle(pattern, func(x *exchange, r *http.Request) { x.who = s.pages.Serve(x, r) })
	}
	handle("/", func(x *exchange, _ *http.Request) { x.notFound() })
	return routes
}

// findings are what the fleet needs in order to work.
func (s *Server) findings(ctx context.Context, counts hosts.Counts) []schema.Finding {
	rel, trouble := s.releases.Now()
	f := doctor.Facts{Now: time.Now(), Policy: rel.Policy, About: rel.About, Expires: rel.Expires, Trouble: trouble,
		Certificate: s.certificateProblem(), Database: s.inventory.Ping(ctx), Hosts: counts.Total,
		Unregistered: counts.State[hosts.Unregistered], NotInGit: counts.State[hosts.NotInGit]}
	if c, ok := s.cert.(interface{ Ends() time.Time }); ok {
		f.Ends = c.Ends()
	}
	contacts, err := s.sites.Contacts(ctx)
	if err != nil {
		s.log.Error("inventory", "error", err)
	}
	f.Heard = map[string]time.Time{}
	for _, c := range contacts {
		f.Heard[c.Name] = c.At
	}
	f.Silent = sites.Silent(contacts, f.Now)
	if s.site != nil {
		f.Site = s.site.Name()
	}
	return doctor.Findings(f)
}

// health is the body of HealthPath. Problem names no paths: anybody may read it.
type health struct {
	Status    string `json:"status"` // ok, degraded or failing
	Timestamp int64  `json:"timestamp"`
	Root      int64  `json:"root"`
	Site      string `json:"site,omitempty"` // that the server is; empty: the centre
	Problem   string `json:"problem,omitempty"`
}

// serveHealth answers 200 as long as hosts can be served, even by an old release: taking the server away would not
// help.
func (s *Server) serveHealth(x *exchange, r *http.Request) {
	rel, trouble := s.releases.Now()
	h := health{Status: "ok", Timestamp: rel.Timestamp, Root: rel.Root}
	status := http.StatusOK
	var problems []string
	if trouble != "" {
		problems = append(problems, trouble)
	}
	if !time.Now().Before(rel.Expires) {
		problems = append(problems,
			"the timestamp is expired: hosts install nothing new until bakehouse reconcile has run")
	}
	if p := s.certificateProblem(); p != "" {
		problems = append(problems, p)
	}
	if s.site != nil {
		h.Site, problems = s.site.Name(), append(problems, s.site.Problems()...)
	}
	if len(problems) > 0 {
		h.Status, h.Problem = "degraded", strings.Join(problems, "; ")
	}
	if s.inventory.Ping(r.Context()) != nil {
		h.Status, h.Problem, status = "failing", "the inventory database does not answer", http.StatusServiceUnavailable
	}
	x.Header().Set("Cache-Control", "no-store")
	x.answer(status, h)
}

// serveMetrics answers Prometheus, as a user with the permission view: with the hosts that exist for that user.
func (s *Server) serveMetrics(x *exchange, r *http.Request, by audit.Actor) {
	if len(by.User.Permissions[schema.PermView]) == 0 {
		x.problem(http.StatusForbidden, "user "+by.Name+" lacks the permission view",
			"give it one for Prometheus in access.cue")
		return
	}
	v := build.ViewerOf(*by.User)
	o, err := s.source.Overview(r.Context(), v)
	if err != nil {
		s.log.Error("metrics", "error", err)
		x.unavailable()
		return
	}
	rel, _ := s.releases.Now()
	var t metrics.Text
	metrics.Fleet(&t, o, s.live.Table.Cells(v.Filter(hosts.Query{})), rel)
	if c, ok := s.cert.(interface{ Expires() time.Time }); ok {
		metrics.Certificate(&t, c.Expires())
	}
	s.requests.Write(&t, "POST "+schema.PollPath)
	x.Header().Set("Content-Type", metrics.ContentType)
	x.Header().Set("Cache-Control", cacheNever)
	_, _ = t.WriteTo(x) // a peer that is gone is no error of ours
}

// serveReady answers 200 once hosts can be served.
func (s *Server) serveReady(x *exchange, r *http.Request) {
	x.Header().Set("Cache-Control", "no-store")
	if s.inventory.Ping(r.Context()) != nil {
		x.unavailable()
		return
	}
	x.answer(http.StatusOK, map[string]string{"status": "ready"})
}
