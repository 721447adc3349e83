package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/ask"
	"bakehouse/serve/audit"
	"bakehouse/serve/certificate"
	"bakehouse/serve/front"
	"bakehouse/serve/hosts"
	"bakehouse/serve/inventory"
	"bakehouse/serve/limit"
	"bakehouse/serve/startup"
)

type options struct {
	version                       string
	store, listen, database, root string
	tls                           startup.TLS
	site                          startup.Site
	logFormat, logLevel, auditLog string
	listenHTTP                    string
	trusted                       []string
	proxies                       front.Proxies
	watch, shutdown               time.Duration
	connections                   limit.Connections
}

// Command is `bakehouse serve`.
func Command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the published packages to the fleet's hosts",
		Long: `Serve the store's newest release to the fleet's hosts over HTTPS: registration, polls, metadata, packages.

New releases are noticed without a restart. A store that is altered, or older than what was served, is not served: the
last verified release goes on being served, and /healthz says so.

The certificate is read again when its files change. SIGHUP looks at them and at the store at once.

With --site it is a remote site: it hands out what its centre (--upstream) publishes, keeps it in the directory --store,
and serves on from there while the centre is away. Registrations and reports go to the centre; a site has no pages.

It listens at once; until the release is verified it answers 503 with Retry-After. Once it serves, one line
"listening on URL" is printed to stdout, and systemd is told (Type=notify); logs go to stderr. SIGINT or SIGTERM ends
it when the requests in flight are answered.`,
		Example: `  bakehouse serve --store store --tls-cert server.pem --tls-key server.key --listen :8443
  bakehouse serve --store store --tls-self-signed tls --listen 127.0.0.1:0
  bakehouse serve --site muc --upstream https://bakehouse.example:8443 --upstream-user site-muc \
    --upstream-secret-file secret --root-fingerprint 5d41… --store cache --tls-cert muc.pem --tls-key muc.key`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("log-level") {
				o.logLevel = startup.Level(c)
			}
			o.version = c.Root().Version
			return run(c.Context(), o, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.store, "store", "store", "the store: `LOCATION` of what reconcile publishes")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8443", "`ADDRESS` to listen on; port 0 takes a free one")
	f.StringVar(&o.tls.Cert, "tls-cert", "", "`FILE` with the server's certificate and its chain, PEM")
	f.StringVar(&o.tls.Key, "tls-key", "", "`FILE` with the certificate's private key, PEM")
	f.StringVar(&o.tls.SelfSigned, "tls-self-signed", "",
		"loopback only: use the certificate in `DIR`, made if absent; hosts trust DIR/"+certificate.CAFile)
	f.StringVar(&o.database, "database", "",
		"`LOCATION` of registrations and reports: a SQLite file, made if absent, or postgres://USER@HOST/DATABASE, "+
			"which servers can share (default STORE-inventory.db)")
	f.StringVar(&o.root, "root", "", "`FILE` with the root metadata to verify the store from, such as "+
		"trust/1.root.json (default: the store's first)")
	f.DurationVar(&o.watch, "watch", 2*time.Second, "how often to look for a new release")
	f.DurationVar(&o.shutdown, "shutdown-timeout", 20*time.Second, "how long requests in flight may take at the end")
	f.IntVar(&o.connections.Max, "max-connections", limit.MaxConnections, "how many connections may be open at a time")
	f.IntVar(&o.connections.Address, "max-connections-per-address", 0,
		"how many of them from one address (default a quarter)")
	f.StringVar(&o.logFormat, "log-format", "text", "form of the log: text or json")
	f.StringVar(&o.logLevel, "log-level", "info",
		"least level that is logged: debug, info, warn or error (-v: debug, -q: warn)")
	f.StringVar(&o.listenHTTP, "listen-http", "", "also listen on `ADDRESS` for plain HTTP, which is sent to HTTPS, "+
		"but for "+schema.HealthPath+" and what anybody may read; credentials do not count there")
	f.StringArrayVar(&o.trusted, "trusted-proxy", nil, "believe the X-Forwarded-For and -Proto of the proxies in "+
		"`CIDR`; with --listen-http, what they forward from HTTPS is served: it is in the clear between "+
		"them and the server")
	f.StringVar(&o.auditLog, "audit-log", "",
		"also write the audit log, as lines of JSON, to `FILE`, or to "+audit.Syslog+"; SIGHUP opens the file again")
	o.site.Flags(f)
	settings.Setting(f, "watch", "shutdown-timeout", "max-connections", "max-connections-per-address",
		"log-format", "log-level")
	settings.Trust(f, "store", "root", "database", "tls-cert", "tls-key", "tls-self-signed", "listen", "audit-log",
		"listen-http", "trusted-proxy")
	c.AddCommand(ask.Seen())
	return c
}

// pollEvery is how often a site polls its centre: so late it hears of a release.
const pollEvery = 10 * time.Second

func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	hangup := make(chan os.Signal, 1) // from the start: whoever comes before the server does ends nothing
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log, err := startup.Log(o.logFormat, o.logLevel, stderr)
	if err != nil {
		return err
	}
	startup.Memory()
	if o.proxies, err = front.Parse(o.trusted); err != nil {
		return err
	}
	if o.watch <= 0 {
		return fault.Hint(fmt.Errorf("--watch %s is not a time", o.watch), "give a duration such as 2s")
	}
	if o.connections.Max < 1 || o.connections.Address < 0 {
		return fault.Hint(errors.New("a server without connections serves nobody"),
			"set --max-connections and --max-connections-per-address to 1 or more")
	}
	var lowered bool
	if o.connections, lowered = o.connections.Fit(); lowered {
		log.Warn("fewer connections than --max-connections have room", "limit", o.connections.Max,
			"hint", "let the process open more files: ulimit -n, or LimitNOFILE in its unit")
	}
	made := Options{Log: log, Version: o.version}
	remote, err := o.site.Check()
	if err == nil && !remote {
		made.Store, made.Anchor, err = startup.Store(ctx, o.store, o.root, log)
	}
	if err != nil {
		return err
	}
	cert, err := o.tls.Open(o.listen, log)
	if err != nil {
		return err
	}
	if o.database == "" {
		if o.database, err = startup.Database(o.store); err != nil {
			return err
		}
	}
	l, err := o.open(ctx, cert, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	startup.Notify(startup.Verifying)
	db, err := inventory.Open(ctx, o.database)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to end before it began
	case err != nil:
		return err
	}
	if db.Created() && !remote { // a site's is filled by its centre
		log.Warn("a new database was made: no host is registered in it", "database", inventory.Name(o.database),
			"hint", "if hosts were registered here before, name their database with --database")
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	made.Inventory, made.Certificate = db, cert
	if remote {
		if made.Site, made.Anchor, err = o.site.Open(ctx, o.store, o.root, o.version, db, log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, made.Site.Close()) }()
		made.Store = made.Site.Store()
		if err := startup.First(ctx, made.Site, log); err != nil {
			return err
		}
	}
	if o.auditLog != "" {
		target, err := audit.Open(o.auditLog)
		if err != nil {
			return err
		}
		defer target.Close() // each line was written by itself
		made.Audit = target
	}
	server, err := New(ctx, made)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("store %s: %w", o.store, err)
	}
	l.server.Store(server)
	l.door.Open(server.Handler())
	if _, err := fmt.Fprintf(stdout, "listening on https://%s\n", l.address); err != nil {
		return err
	}
	startup.Notify(startup.Ready)
	return server.serve(ctx, stop, hangup, l, o)
}

// listening is what takes connections, also before there is a server behind it.
type listening struct {
	door         front.Door
	address      net.Addr
	https, plain *http.Server // plain may be nil
	failed       chan error
	server       atomic.Pointer[Server] // nil: there is none yet
}

// outer is the port at which hosts reach a site of that name, by signed policy; empty: there is no such site.
func (l *listening) outer(host string) string {
	s := l.server.Load()
	if s == nil {
		return ""
	}
	rel, _ := s.releases.Now()
	for _, site := range rel.Policy.Sites {
		if u, err := url.Parse(site.URL); err == nil && strings.EqualFold(u.Hostname(), host) {
			return cmp.Or(u.Port(), "443")
		}
	}
	return ""
}

// open listens, and has the door answer.
func (o options) open(ctx context.Context, cert *certificate.Certificate, log *slog.Logger) (*listening, error) {
	main, err := startup.Listen(ctx, o.listen)
	if err != nil {
		return nil, err
	}
	l := &listening{address: main.Addr(), failed: make(chan error, 2)}
	l.https = httpServer(o.proxies.Handler(&l.door), usualTimeouts, log)
	l.https.TLSConfig = tlsConfig(cert)
	if o.listenHTTP != "" {
		second, err := startup.Listen(ctx, o.listenHTTP)
		if err != nil {
			return nil, errors.Join(err, main.Close())
		}
		_, port, _ := net.SplitHostPort(main.Addr().String())
		outer := func(host string) string { return cmp.Or(l.outer(host), port) }
		l.plain = httpServer(front.Plain(o.proxies, openToAll, outer, &l.door), usualTimeouts, log)
		log.Info("listening for plain HTTP", "address", second.Addr().String())
		go func() {
			if err := ignoreClosed(l.plain.Serve(o.connections.Listen(second, log))); err != nil {
				l.failed <- err
			}
		}()
	}
	log.Info("listening; hosts are served when the release is verified", "address", main.Addr().String())
	go func() { l.failed <- l.https.ServeTLS(o.connections.Listen(main, log), "", "") }()
	return l, nil
}

// close ends what listens, if it has not ended.
func (l *listening) close() error {
	err := ignoreClosed(l.https.Close())
	if l.plain != nil {
		err = errors.Join(err, ignoreClosed(l.plain.Close()))
	}
	return err
}

// serve answers what l takes until ctx ends, then lets the requests in flight end.
func (s *Server) serve(ctx context.Context, stop func(), hangup <-chan os.Signal, l *listening, o options) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watchCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching.Go(func() { s.Watch(watchCtx, o.watch) })
	watching.Go(func() { s.live.Follow(watchCtx) })
	watching.Go(func() { s.bark(watchCtx, startup.Watchdog()) })
	if s.site != nil {
		watching.Go(func() { s.site.Run(watchCtx, pollEvery, s.releases.Follow) })
	}
	watching.Go(func() {
		for {
			select {
			case <-watchCtx.Done():
				return
			case <-hangup:
				s.log.Info("hangup: looking at the certificate and the store")
				startup.Notify(startup.Reloading)
				s.look(watchCtx)
				s.audit.Reopen()
				startup.Notify(startup.Ready)
			}
		}
	})

	select {
	case err := <-l.failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop() // a second signal ends the program at once
	s.log.Info("shutting down", "within", o.shutdown)
	startup.Notify(startup.Stopping)
	end, cancelEnd := context.WithTimeout(context.Background(), o.shutdown)
	defer cancelEnd()
	if err := l.https.Shutdown(end); err != nil {
		s.log.Warn("requests were cut off", "error", err)
		return errors.Join(ignoreClosed(l.https.Close()), ignoreClosed(<-l.failed))
	}
	return ignoreClosed(<-l.failed)
}

// bark tells the watchdog that the server is alive, as long as what every request needs can be had; 0: there is none.
func (s *Server) bark(ctx context.Context, within time.Duration) {
	if within == 0 {
		return
	}
	t := time.NewTicker(within / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.releases.Now()
			s.live.Table.Counts(hosts.Filter{})
			startup.Notify(startup.Alive)
		}
	}
}

// openToAll reports whether anybody may read what is asked for, over plain HTTP too: hosts verify metadata themselves.
func openToAll(r *http.Request) bool {
	name, metadata := strings.CutPrefix(r.URL.Path, schema.MetadataPath)
	return r.URL.Path == schema.HealthPath || metadata && schema.OpenMetadata(name)
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func tlsConfig(cert *certificate.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.Get}
}
