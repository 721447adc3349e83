// Package upstream makes a server a remote site: what it hands out comes from its centre, and what hosts tell it goes
// there.
//
// A server is a site whose source is the local store; a site's source is the store of this package, which asks the
// centre for what its cache lacks, as a host would ask (agent/wire). Nothing of it is believed: serve/origin verifies
// releases by agent/trust before they are served, manifests and segments are checked by digest, and hosts verify all
// again. What a site is trusted with is the confidentiality of its own hosts alone, and it has no more: no signing
// keys, no users, no bin and no package but those of its hosts.
//
//	site.go      options, the client, what is wrong with the link
//	store.go     the store: releases, manifests, statements
//	segments.go  segments, handed on while they arrive
//	link.go      the poll of the centre: reports go, news come; registrations: forwarded, adopted, kept
//	spool        what must not be forgotten
//	shelf        the cache on disk
//
// Cut off, a site serves on from what it has: the release that it verified last, the packages that its cache has, the
// hosts that are registered. It opens no gate that the centre had not opened, registers nobody, and keeps reports.
package upstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/upstream/shelf"
	"bakehouse/serve/upstream/spool"
)

// Options of a site. All but Authorities and Log must be given.
type Options struct {
	Name        string // the site's, in sites/ of the config repo
	Centre      string // base URL
	User        string
	Secret      func() (string, error)
	Authorities func() ([]string, error) // PEM, besides those that signed policy names; nil: none
	Dir         string                   // of the cache
	Limit       int64                    // of the cache, in bytes
	Reports     int                      // that are kept before those of a host are reduced; 0: spool.MaxReports
	Pause       time.Duration            // for which the centre is not asked after it did not answer; 0: five seconds
	Prefetch    bool                     // fetch the packages of a new release before hosts ask for them
	Program     string                   // version of this program
	Inventory   Inventory
	Log         *slog.Logger
}

// Inventory keeps the registrations of the site's hosts; *inventory.DB is one.
type Inventory interface {
	All(ctx context.Context) iter.Seq2[inventory.Host, error]
	Secret(ctx context.Context, host string) (schema.Digest, error)
	Register(ctx context.Context, r inventory.Registration, c inventory.Claim, was ...string,
	) (before *inventory.Host, err error)
	Forget(ctx context.Context, host string) error
}

// Site is the link to the centre. Make it with Open. It is safe for concurrent use.
type Site struct {
	o        Options
	log      *slog.Logger
	spool    *spool.Spool
	shelf    *shelf.Shelf
	instance string
	started  time.Time
	ctx      context.Context // of what outlives a request; ends with Close
	end      context.CancelFunc
	work     sync.WaitGroup

	hits, misses atomic.Int64
	stepping     sync.Mutex // held during a poll
	adopting     chan struct{}

	mu      sync.Mutex // of what follows
	client  *wire.Client
	settled string // what the client was made of
	release *origin.Release
	contact time.Time // with the centre, last
	link    string    // what is wrong with it; empty: nothing
	denied  string    // what the centre has against this site
	centre  string    // what the centre says is wrong
	disk    string    // what is wrong with the cache
	look    string    // why the newest release is not served
	down    time.Time // until when the centre is not asked
	refused map[refusal]time.Time

	news     releaseNews
	sizes    map[schema.Digest]int64 // of segments
	fetching map[string]*fetch       // segments on their way, by key
	asking   map[string]*asking      // small objects on their way

	held     map[string]uplink.Registration
	own      []string        // names of hosts, in order: those of held, and fresh
	fresh    map[string]bool // registered or adopted here, and not told of yet
	cursor   string
	staged   map[string]uplink.Registration // a list that is not whole yet; nil: there is none
	verdicts []inventory.Verdict
	sum      string // of verdicts
}

// Open opens what the site has. It asks nobody yet: Step does.
func Open(ctx context.Context, o Options) (s *Site, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Pause == 0 {
		o.Pause = pause
	}
	if o.Reports == 0 {
		o.Reports = spool.MaxReports
	}
	s = &Site{o: o, log: o.Log, started: time.Now().UTC(), adopting: make(chan struct{}, maxAdopting),
		refused: map[refusal]time.Time{}, sizes: map[schema.Digest]int64{}, fetching: map[string]*fetch{},
		asking: map[string]*asking{}, fresh: map[string]bool{},
		news: releaseNews{pending: map[string][]byte{}}}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if s.shelf, err = shelf.Open(o.Dir, o.Limit, s.live); err != nil {
		return nil, err
	}
	if s.spool, err = spool.Open(ctx, filepath.Join(o.Dir, "site.db"), o.Reports); err != nil {
		return nil, err
	}
	if err := s.recall(ctx); err != nil {
		return nil, errors.Join(err, s.spool.Close())
	}
	return s, nil
}

// recall reads what was kept before.
func (s *Site) recall(ctx context.Context) (err error) {
	if s.instance, err = s.spool.State(ctx, "instance"); err != nil {
		return err
	}
	if s.instance == "" {
		s.instance = rand.Text()
		if err := s.spool.SetState(ctx, "instance", s.instance); err != nil {
			return err
		}
	}
	if s.held, err = s.spool.Hosts(ctx); err != nil {
		return err
	}
	for h, err := range s.o.Inventory.All(ctx) { // the centre was not asked again since
		if err != nil {
			return err
		}
		if _, held := s.held[h.Host]; !held && h.End.How == "" {
			s.fresh[h.Host] = true
		}
	}
	s.renumber()
	return s.recallVerdicts(ctx)
}

// Close ends what goes on, and closes what Open opened.
func (s *Site) Close() error {
	s.end()
	s.work.Wait()
	if s.client != nil {
		s.client.Close()
	}
	return s.spool.Close()
}

// Name is the site's.
func (s *Site) Name() string { return s.o.Name }

// Served reports whether a release was ever served from here.
func (s *Site) Served() bool { return len(s.shelf.Keys(schema.TimestampDir)) > 0 }

// pause is Options.Pause: hosts that wait for a dead link go elsewhere late.
const pause = 5 * time.Second

var errDown = errors.New("the centre did not answer a moment ago")

// ask calls do with a client, unless the centre did not answer a moment ago, and notes whether it answered.
func (s *Site) ask(host string, do func(c *wire.Client) error) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	s.mu.Lock()
	down := time.Now().Before(s.down)
	s.mu.Unlock()
	if down {
		return fmt.Errorf("%w: %w", wire.ErrUnreachable, errDown)
	}
	err = do(c.For(host))
	s.note(err)
	return err
}

// note keeps whether the centre answered.
func (s *Site) note(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.link
	if s.link, s.down = "", (time.Time{}); errors.Is(err, wire.ErrUnreachable) {
		s.link, s.down = err.Error(), time.Now().Add(s.o.Pause)
	}
	switch {
	case s.link != "" && before == "":
		s.log.Warn("the centre does not answer: this site serves on from what it has", "error", err, "hint",
			fault.HintOf(err))
	case s.link == "" && before != "":
		s.log.Info("the centre answers again")
	}
}

// dial returns the client, made anew if the secret or the authorities are others.
func (s *Site) dial() (*wire.Client, error) {
	secret, err := s.o.Secret()
	if err != nil {
		return nil, err
	}
	var authorities []string
	if s.o.Authorities != nil {
		if authorities, err = s.o.Authorities(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release != nil {
		for _, site := range s.release.Policy.Sites {
			if strings.TrimSuffix(site.URL, "/") == strings.TrimSuffix(s.o.Centre, "/") && site.Certificates != "" {
				authorities = append(slices.Clip(authorities), site.Certificates)
			}
		}
	}
	settled := strings.Join(append([]string{secret}, authorities...), "\x00")
	if s.client != nil && s.settled == settled {
		return s.client, nil
	}
	c, err := wire.New(wire.Config{Server: s.o.Centre, Certificates: authorities, Program: "bakehouse/" + s.o.Program,
		User: s.o.User, Password: secret, Site: s.o.Name})
	if err != nil {
		return nil, err
	}
	if s.client != nil {
		s.client.Close()
	}
	s.client, s.settled = c, settled
	return c, nil
}

// Problems are what people should know, in sentences without their full stop, for anybody to read.
func (s *Site) Problems() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != "" {
		list = append(list, "the centre does not answer, last "+s.contact.UTC().Format(time.RFC3339)+
			": this site serves on from what it has")
	}
	if s.denied != "" {
		list = append(list, "the centre refuses this site")
	}
	if s.look != "" {
		list = append(list, "the centre's newest release is not served: "+s.look)
	}
	if s.centre != "" {
		list = append(list, "the centre says that something is wrong with this site; the log has what")
	}
	if s.disk != "" {
		list = append(list, s.disk)
	}
	return list
}

// status is what the site says of itself.
func (s *Site) status() uplink.Status {
	problem := strings.Join(s.Problems(), "; ")
	used, objects := s.shelf.Stat()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := uplink.Status{Program: s.o.Program, Speaks: schema.WireVersions(), Started: s.started, Now: time.Now().UTC(),
		Hosts: len(s.held), Cache: uplink.Cache{Bytes: used, Limit: s.o.Limit, Objects: objects,
			Hits: s.hits.Load(), Misses: s.misses.Load()}, Spool: s.spool.Stat(), Problem: problem}
	if s.release != nil {
		st.Timestamp, st.Root = s.release.Timestamp, s.release.Root
	}
	return st
}
