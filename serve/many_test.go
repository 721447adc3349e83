package serve

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/certificate"
	"bakehouse/serve/inventory"
	"bakehouse/serve/inventory/inventorytest"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
	"bakehouse/serve/store/storetest/s3test"
)

func TestServersThatShareADatabaseShowTheSameOfAHost(t *testing.T) {
	f, _ := standardFleet(t)
	database := filepath.Join(t.TempDir(), "inventory.db")
	a, b := startWith(t, f, database, nil), startWith(t, f, database, nil)
	follows := func() {
		t.Helper()
		for _, w := range []*site{a, b} {
			check(t, w.db.Flush(t.Context()))
		}
		for _, w := range []*site{a, b} {
			check(t, w.server.live.CatchUp(t.Context()))
		}
	}
	host := a.register("web01")
	report := schema.Report{State: schema.StateFailed, Code: "unhealthy", Error: "it is ill"}
	a.poll(host, schema.PollRequest{Report: report})
	follows()
	row, _, _, ok := b.server.live.Table.Row("web01", nil)
	want, _, _, _ := a.server.live.Table.Row("web01", nil)
	if !ok || row.State != want.State || row.Error != want.Error || row.Error == "" {
		t.Errorf("the other server shows %+v, and not %+v", row, want)
	}
	report.State, report.Code, report.Error = schema.StateCurrent, "", ""
	b.poll(host, schema.PollRequest{Report: report})
	follows()
	if row, _, _, _ := a.server.live.Table.Row("web01", nil); row.Error != "" {
		t.Errorf("the first server shows what was before: %+v", row)
	}
	check(t, a.db.End(t.Context(), "web01", inventory.End{How: inventory.Revoked, By: "ops", At: time.Now()}))
	follows()
	if row, _, _, _ := b.server.live.Table.Row("web01", nil); !row.Checked.IsZero() {
		t.Errorf("a registration that was revoked at the other server: %+v", row)
	}
	if _, r := b.poll(host, schema.PollRequest{}); r.status != http.StatusUnauthorized {
		t.Errorf("its secret still counts: %d", r.status)
	}
}

// members are real servers of one fleet that share what they can, behind what sends each request to one of them.
type members struct {
	t      *testing.T
	args   []string
	client *http.Client

	mu   sync.Mutex
	urls []string
	cmds []*exec.Cmd
	next atomic.Int64
	acks chan struct{} // has one if a registration was acknowledged since it was last looked at
}

func startMembers(t *testing.T, n int, location, database string) *members {
	t.Helper()
	tlsDir := filepath.Join(t.TempDir(), "tls")
	m := &members{t: t, urls: make([]string, n), cmds: make([]*exec.Cmd, n),
		acks: make(chan struct{}, 1), args: []string{"serve",
			"--store", location, "--listen", "127.0.0.1:0", "--tls-self-signed", tlsDir, "--database", database,
			"--log-level", "error"}}
	for i := range n {
		m.start(i)
	}
	pem, err := os.ReadFile(filepath.Join(tlsDir, certificate.CAFile))
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	m.client = &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 32}}
	return m
}

func (m *members) start(i int) {
	m.t.Helper()
	url, cmd, _, _ := program(m.t, m.args...)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.urls[i], m.cmds[i] = url, cmd
}

// kill ends a server as a crash of its process does.
func (m *members) kill(i int) {
	m.mu.Lock()
	cmd := m.cmds[i]
	m.mu.Unlock()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// again waits until a registration is acknowledged from now on: what is killed before it did anything shows nothing.
func (m *members) again() {
	select {
	case <-m.acks:
	default:
	}
	select {
	case <-m.acks:
	case <-time.After(patience):
		m.t.Error("no registration was acknowledged")
	}
}

// patience is how long a host tries before it counts as having noticed.
const patience = 2 * time.Minute

// ask sends a request to one server after the other until one answers, as a balancer does when one is gone.
func (m *members) ask(c caller, path string, body any) (status int, answer []byte, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	for end := time.Now().Add(patience); ; {
		m.mu.Lock()
		url := m.urls[int(m.next.Add(1))%len(m.urls)]
		m.mu.Unlock()
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+path, bytes.NewReader(b))
		if err != nil {
			return 0, nil, err
		}
		r.SetBasicAuth(c.name, c.secret)
		resp, err := m.client.Do(r)
		if err == nil {
			answer, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil {
				return resp.StatusCode, answer, nil
			}
		}
		if time.Now().After(end) {
			return 0, nil, err
		}
	}
}

// besiege has each host register, and poll with what was acknowledged, until trouble is over. Then it returns the
// secrets that count.
func (m *members) besiege(hosts []string, trouble func()) (secrets map[string]string) {
	m.t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acknowledged atomic.Int64
	secrets = map[string]string{}
	over, begun := make(chan struct{}), make(chan struct{}, len(hosts))
	for _, host := range hosts {
		wg.Go(func() {
			for round := 0; ; round++ {
				q := registration(host)
				q.Replace = true
				status, body, err := m.ask(installer, schema.RegisterPath, q)
				var a schema.RegisterAnswer
				if err == nil && status == http.StatusOK {
					err = schema.Decode(body, &a)
				}
				if err != nil || status != http.StatusOK {
					m.t.Errorf("%s registers: %d %s %v", host, status, body, err)
					return
				}
				acknowledged.Add(1)
				select {
				case m.acks <- struct{}{}:
				default:
				}
				for poll := range 4 {
					status, body, err := m.ask(caller{host, a.Secret}, schema.PollPath, schema.PollRequest{
						Schema: schema.WireVersions(), Report: schema.Report{Error: fmt.Sprint(round, poll)}})
					if err != nil || status != http.StatusOK && status != http.StatusNoContent {
						m.t.Errorf("%s polls: %d %s %v", host, status, body, err)
						return
					}
				}
				mu.Lock()
				secrets[host] = a.Secret
				mu.Unlock()
				if round == 0 {
					begun <- struct{}{}
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	go func() { wg.Wait(); close(begun) }()
	for range hosts {
		<-begun
	}
	trouble()
	close(over)
	wg.Wait()
	m.t.Logf("%d registrations were acknowledged", acknowledged.Load())
	return secrets
}

// acknowledgedIn compares what hosts were told with what is in the database.
func acknowledgedIn(t *testing.T, database string, hosts []string, secrets map[string]string) {
	t.Helper()
	db, err := inventory.Open(t.Context(), database)
	check(t, err)
	defer db.Close()
	for _, host := range hosts {
		if got, err := db.Secret(t.Context(), host); err != nil || got != schema.DigestOf([]byte(secrets[host])) {
			t.Errorf("%s: a registration that was acknowledged is lost: %v", host, err)
		}
	}
}

// kills is how often a server is killed: BAKEHOUSE_TEST_KILLS says so, a hundred in front of a release.
func kills(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("BAKEHOUSE_TEST_KILLS"), "3"))
	check(t, err)
	return n
}

func TestNoRegistrationIsLostWhenAServerIsKilledUnderLoad(t *testing.T) {
	f, packs := standardFleet(t)
	hosts := slices.Sorted(maps.Keys(packs))
	for name, place := range map[string]inventorytest.Place{
		"SQLite":     inventorytest.SQLite,
		"PostgreSQL": inventorytest.PostgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			database := place(t)
			m := startMembers(t, 1, f.dir, database)
			secrets := m.besiege(hosts, func() {
				for range kills(t) {
					m.kill(0)
					m.start(0)
					m.again()
				}
			})
			m.kill(0)
			acknowledgedIn(t, database, hosts, secrets)
		})
	}
}

func TestNoRegistrationIsLostWhenPostgreSQLIsKilledUnderLoad(t *testing.T) {
	c := inventorytest.NewCluster(t)
	database := c.Database(t)
	f, packs := standardFleet(t)
	hosts := slices.Sorted(maps.Keys(packs))
	m := startMembers(t, 2, f.dir, database)
	var secrets map[string]string
	for range kills(t) {
		secrets = m.besiege(hosts, func() {}) // answers 503 while it is away are for the next test
		c.Kill()
		if status, _, err := m.ask(caller{hosts[0], secrets[hosts[0]]}, schema.PollPath,
			schema.PollRequest{Schema: schema.WireVersions()}); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("without its database a server answers %d, %v", status, err)
		}
		check(t, c.Start())
		for _, host := range hosts { // whatever connections are in the pools
			status, body, err := m.ask(caller{host, secrets[host]}, schema.PollPath,
				schema.PollRequest{Schema: schema.WireVersions()})
			if err != nil || status != http.StatusOK {
				t.Errorf("%s polls: %d %s %v", host, status, body, err)
			}
		}
	}
	acknowledgedIn(t, database, hosts, secrets)
}

func TestHostsDoNotNoticeThatOneOfThreeServersIsKilled(t *testing.T) {
	needs.All(t, "starts PostgreSQL and an S3 server")
	f := newFleet(t)
	p := f.bake("everybody's")
	var hosts []string
	many := 100
	if kills(t) > 3 {
		many = 1000
	}
	for i := range many {
		hosts = append(hosts, fmt.Sprintf("web%04d", i))
		f.assign(hosts[i], 1, p)
	}
	f.publish()
	s3 := s3test.Start(t)
	location := s3test.Location(s3.Bucket(), s3.Address)
	st, err := stores.Open(t.Context(), location)
	check(t, err)
	keys := slices.Collect(maps.Keys(f.stored))
	slices.SortFunc(keys, func(a, b string) int { // the timestamp makes it a release
		return strings.Compare(fmt.Sprint(strings.HasPrefix(a, schema.TimestampKey(1)[:8]), a),
			fmt.Sprint(strings.HasPrefix(b, schema.TimestampKey(1)[:8]), b))
	})
	for _, key := range keys {
		b, err := store.Read(t.Context(), f.store, key, 1<<24)
		check(t, errors.Join(err, store.CreateBytes(t.Context(), st, key, b)))
	}
	database := inventorytest.PostgreSQL(t)
	m := startMembers(t, 3, location, database)
	secrets := m.besiege(hosts, func() {
		for i := range m.urls {
			m.kill(i)
			m.start(i)
		}
	})
	acknowledgedIn(t, database, hosts, secrets)
}
