package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
	"bakehouse/serve/inventory/transfer"
)

// cheapHash is of the user's password: what hashes cost is measured elsewhere.
func cheapHash() (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	return string(b), err
}

// bench is what is measured, and what it is measured with.
type bench struct {
	options
	dir     string
	fleet   *fleet
	secrets map[string]string // of the hosts that registered over HTTPS
	serve   *process
	us      *peer
	nginx   *process
	rival   *peer
	bodies  [][]byte // polls, by host
	table   *table
}

func measure(ctx context.Context, o options, progress io.Writer) (t *table, err error) {
	dir, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir, secrets: map[string]string{}, table: &table{progress: progress}}
	if b.program == "" {
		b.program = filepath.Join(dir, "bakehouse")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", b.program, "bakehouse")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, err
		}
	}
	b.table.note("%d hosts in %d bins, %d connections, %d processors, load before: %s", o.hosts, o.bins, o.clients,
		runtime.NumCPU(), load())
	defer b.end()
	for _, step := range []func(context.Context) error{b.begin, b.register, b.warm, b.kept, b.latency, b.fresh,
		b.segments, b.pages, b.written, b.release, b.restart} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		runtime.GC() // of this program, not while it measures
	}
	b.table.note("load after: %s", load())
	return b.table, nil
}

func (b *bench) end() {
	for _, p := range []*process{b.serve, b.nginx} {
		if p != nil {
			p.end()
		}
	}
}

// begin publishes the fleet, imports registrations and starts the servers.
func (b *bench) begin(ctx context.Context) (err error) {
	if b.fleet, err = newFleet(ctx, filepath.Join(b.dir, "store"), b.options); err != nil {
		return err
	}
	file := filepath.Join(b.dir, "export")
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	now := time.Now().UTC().Truncate(time.Second)
	_, err = transfer.Write(out, func(yield func(inventory.Entry, error) bool) {
		for _, host := range b.fleet.hosts[b.registering():] {
			h := inventory.Host{Registration: inventory.Registration{Host: host, User: user, At: now, Agent: "1.0.0",
				Secret:   schema.DigestOf([]byte(secret(host))),
				Platform: schema.Platform{OS: "linux", Arch: "amd64"}}}
			if !yield(inventory.Entry{Host: &h}, nil) {
				return
			}
		}
	}, now)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.program, "inventory", "import", file, "--database",
		filepath.Join(b.dir, "inventory.db"))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("inventory import: %w\n%s", err, said)
	}
	if b.serve, b.us, err = serve(ctx, b.program, b.dir); err != nil {
		return err
	}
	b.nginx, b.rival, err = nginx(ctx, b.dir, b.fleet.segment)
	return err
}

// registering is how many hosts register over HTTPS.
func (b *bench) registering() int { return min(1000, len(b.fleet.hosts)) }

func (b *bench) register(ctx context.Context) error {
	c, err := b.us.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	start := time.Now()
	for _, host := range b.fleet.hosts[:b.registering()] {
		q, err := json.Marshal(schema.RegisterRequest{Schema: schema.WireVersions(), Host: host, Agent: "1.0.0",
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}})
		if err != nil {
			return err
		}
		a, err := c.ask(request(schema.RegisterPath, user, password, q), true)
		if err != nil {
			return err
		}
		var got schema.RegisterAnswer
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != 200 {
			return fmt.Errorf("%s registers: %d %s", host, a.status, a.body)
		}
		b.secrets[host] = got.Secret
	}
	b.table.add("registrations, one after the other", fmt.Sprintf("%.0f/s",
		float64(b.registering())/time.Since(start).Seconds()), "", "")
	return nil
}

// prepare makes the polls of all hosts, as those of hosts that have what is published.
func (b *bench) prepare() {
	b.bodies = b.bodies[:0]
	for i, host := range b.fleet.hosts {
		key := b.secrets[host]
		if key == "" {
			key = secret(host)
		}
		b.bodies = append(b.bodies, request(schema.PollPath, host, key, b.fleet.body(i)))
	}
}

func (b *bench) polls(to *peer) task {
	return task{to: to, status: 204, request: func(n int) []byte { return b.bodies[n%len(b.bodies)] }}
}

// warm has every host poll with its first report, and waits until the rollout is over: while it lasts, hosts are asked
// to come back early.
func (b *bench) warm(ctx context.Context) error {
	b.prepare()
	if _, err := b.all(ctx); err != nil {
		return err
	}
	c, err := b.us.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		a, err := c.ask(b.bodies[0], false)
		if err != nil || a.status == 204 {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// all has every host poll once.
func (b *bench) all(ctx context.Context) (outcome, error) {
	t := b.polls(b.us)
	t.status = 0
	return t.drive(ctx, b.clients, 0, int64(len(b.bodies)), 0)
}

// share is a measurement of both: by the clock, and by the time that a server's processes used for one answer, which
// hosts compare by asking a task of one and the other in turn.
func (b *bench) share(ctx context.Context, us, rival task) (ours, theirs outcome, cpu [2]float64, err error) {
	const turns = 4
	var used [2]time.Duration
	var sums [2]outcome
	for range turns {
		for i, side := range []struct {
			task
			*process
		}{{us, b.serve}, {rival, b.nginx}} {
			before := side.used()
			o, err := side.drive(ctx, b.clients, b.each/turns, 0, 0)
			if err != nil {
				return ours, theirs, cpu, fmt.Errorf("%w\n%s", err, side.log)
			}
			used[i] += side.used() - before
			sums[i].answers += o.answers
			sums[i].bytes += o.bytes
			sums[i].took += o.took
		}
	}
	for i := range cpu {
		cpu[i] = float64(used[i].Microseconds()) / max(1, float64(sums[i].answers))
	}
	return sums[0], sums[1], cpu, nil
}

func (b *bench) compare(ctx context.Context, what string, us, rival task, budget string) (outcome, error) {
	ours, theirs, cpu, err := b.share(ctx, us, rival)
	if err != nil {
		return ours, fmt.Errorf("%s: %w", what, err)
	}
	b.table.add(what, fmt.Sprintf("%.0f/s", ours.rate()), fmt.Sprintf("%.0f/s", theirs.rate()),
		fmt.Sprintf("%.2f of nginx; budget %s", ours.rate()/theirs.rate(), budget))
	b.table.add("… processor time of each", fmt.Sprintf("%.0f µs", cpu[0]), fmt.Sprintf("%.0f µs", cpu[1]),
		fmt.Sprintf("%.2f of nginx", cpu[1]/max(1e-9, cpu[0])))
	return ours, nil
}

func (b *bench) kept(ctx context.Context) error {
	o, err := b.compare(ctx, "polls over kept connections", b.polls(b.us), b.polls(b.rival), "0.4")
	b.table.rate = o.rate()
	return err
}

func (b *bench) latency(ctx context.Context) error {
	o, err := b.polls(b.us).drive(ctx, b.clients, b.each, 0, b.table.rate/2)
	b.table.add("waits at half of that, p50 and p99", fmt.Sprintf("%.1f and %.1f ms", ms(o.at(0.5)), ms(o.at(0.99))),
		"", "budget p99 50 ms")
	return err
}

func (b *bench) fresh(ctx context.Context) error {
	us, rival := b.polls(b.us), b.polls(b.rival)
	us.fresh, rival.fresh = true, true
	_, err := b.compare(ctx, "polls, each over a new connection", us, rival, "0.8")
	return err
}

func (b *bench) segments(ctx context.Context) error {
	host := b.fleet.hosts[0]
	path := schema.SegmentPath + schema.DigestOf(b.fleet.segment).Hex()
	us := task{to: b.us, status: 200, request: func(int) []byte {
		return get(path, "Authorization: Basic "+basic(host, b.secrets[host]))
	}}
	rival := task{to: b.rival, status: 200, request: func(int) []byte { return get("/segment") }}
	ours, theirs, cpu, err := b.share(ctx, us, rival)
	if err != nil {
		return fmt.Errorf("segments: %w", err)
	}
	speed := func(o outcome) float64 { return float64(o.bytes) / 1e6 / o.took.Seconds() }
	b.table.add("bytes of segments", fmt.Sprintf("%.0f MB/s", speed(ours)), fmt.Sprintf("%.0f MB/s", speed(theirs)),
		fmt.Sprintf("%.2f of nginx; budget 1.0", speed(ours)/speed(theirs)))
	b.table.add("… processor time of a megabyte", fmt.Sprintf("%.0f µs", cpu[0]*1e6/float64(b.segment)),
		fmt.Sprintf("%.0f µs", cpu[1]*1e6/float64(b.segment)), fmt.Sprintf("%.2f of nginx", cpu[1]/max(1e-9, cpu[0])))
	return nil
}

// pages asks as a browser does that has signed in.
func (b *bench) pages(ctx context.Context) error {
	c, err := b.us.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	form := url.Values{"user": {user}, "password": {password}, "next": {"/"}}.Encode()
	a, err := c.ask(fmt.Appendf(nil, "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n"+
		"Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(form), form), true)
	if err != nil {
		return err
	}
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	if a.status != 303 || cookie == "" {
		return fmt.Errorf("sign-in: %d %s", a.status, a.body)
	}
	for _, page := range []struct {
		what, budget string
		paths        []string
	}{
		{"the overview, p50 and p95", "20", []string{"/"}},
		{"pages of hosts, p50 and p95", "50", []string{"/hosts", "/hosts?q=99", "/hosts?sort=check",
			"/hosts?sort=-check", "/hosts?state=up-to-date", "/hosts?release=1&sort=state", "/hosts?q=nothing"}},
	} {
		var o outcome
		for i := range 20 * len(page.paths) {
			start := time.Now()
			a, err := c.ask(get(page.paths[i%len(page.paths)], "Cookie: "+cookie, "Accept-Encoding: gzip"), true)
			if err != nil || a.status != 200 {
				return fmt.Errorf("%s: %d %w", page.paths[i%len(page.paths)], a.status, err)
			}
			o.waits = append(o.waits, time.Since(start))
		}
		slices.Sort(o.waits)
		b.table.add(page.what, fmt.Sprintf("%.1f and %.1f ms", ms(o.at(0.5)), ms(o.at(0.95))), "",
			"budget p95 "+page.budget+" ms")
	}
	return nil
}

// written compares what is written with how many polls there are, those without news and those with it.
func (b *bench) written(ctx context.Context) error {
	per := func(what string, before, polls int64) {
		b.table.add(what, fmt.Sprintf("%.0f B", float64(b.serve.written()-before)/max(1, float64(polls))), "",
			"budget 1000 B")
	}
	before := b.serve.written()
	o, err := b.all(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.settle); err != nil {
		return err
	}
	per("written for a poll without news", before, o.answers)
	b.table.add("memory at rest", fmt.Sprintf("%.0f MB", b.serve.memory()), "", "budget 200 MB")
	return nil
}

// release publishes another package for every host.
func (b *bench) release(ctx context.Context) error {
	if err := b.serve.resetPeak(); err != nil {
		return err
	}
	var stamped time.Time
	if err := b.fleet.publish(ctx, func() { stamped = time.Now() }); err != nil {
		return err
	}
	c, err := b.us.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	want := fmt.Sprintf(`"version":%d`, b.fleet.Timestamp.Signed.Version)
	for {
		a, err := c.ask(get(schema.MetadataPath+"timestamp.json"), true)
		if err != nil {
			return err
		}
		if strings.Contains(strings.ReplaceAll(string(a.body), `": `, `":`), want) {
			break
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	b.table.add("from a timestamp to its release being served", fmt.Sprintf("%.1f s", time.Since(stamped).Seconds()),
		"", "budget 5 s")
	b.table.add("most memory meanwhile", fmt.Sprintf("%.0f MB", b.serve.peak()), "", "budget 300 MB")
	before := b.serve.written()
	b.prepare()
	o, err := b.all(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.settle); err != nil {
		return err
	}
	b.table.add("written for a poll of a host that has updated", fmt.Sprintf("%.0f B",
		float64(b.serve.written()-before)/max(1, float64(o.answers))), "", "")
	b.table.add("most memory until all hosts have", fmt.Sprintf("%.0f MB", b.serve.peak()), "", "budget 300 MB")
	return nil
}

// restart is how long hosts wait for a server that starts.
func (b *bench) restart(ctx context.Context) (err error) {
	b.serve.end()
	if b.serve, b.us, err = serve(ctx, b.program, b.dir); err != nil {
		return err
	}
	b.table.add("from the start to the first connection", fmt.Sprintf("%.2f s", b.serve.listens.Seconds()), "",
		"budget at once")
	b.table.add("from the start to the first host served", fmt.Sprintf("%.2f s", b.serve.ready.Seconds()), "",
		"budget 2 s")
	b.table.add("… processor time of that", fmt.Sprintf("%.2f s", b.serve.used().Seconds()), "", "")
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
