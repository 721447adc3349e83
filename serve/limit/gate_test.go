package limit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"bakehouse/schema"
	"bakehouse/schema/passhash"
)

const password = "correct horse"

func users(t testing.TB, names ...string) *schema.Access {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	a := &schema.Access{Users: map[string]schema.User{}}
	for _, n := range names {
		a.Users[n] = schema.User{Hash: string(hash)}
	}
	return a
}

func gate(a *schema.Access) *Gate {
	g := NewGate(slog.New(slog.DiscardHandler))
	g.Prepare(a)
	return g
}

// together makes n attempts at once and returns how many were let in.
func together(t *testing.T, g *Gate, a *schema.Access, n int, address func(i int) string) (in int) {
	var asking sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		asking.Go(func() {
			_, ok, _ := g.Check(t.Context(), a, address(i), "ci", password)
			mu.Lock()
			defer mu.Unlock()
			if ok {
				in++
			}
		})
	}
	asking.Wait()
	return in
}

func TestAllHostsOfASiteRegisterWithOneUserAtOnceAndOneHashIsComputed(t *testing.T) {
	t.Parallel()
	a := users(t, "ci")
	for name, address := range map[string]func(int) string{
		"from one address":     func(int) string { return "192.0.2.1" },
		"from many addresses":  func(i int) string { return "192.0.2." + strconv.Itoa(i) },
		"once more, later on ": func(i int) string { return "192.0.2.1" },
	} {
		g := gate(a)
		for range 2 {
			if in := together(t, g, a, 300, address); in != 300 || g.hashed != 1 {
				t.Errorf("%s: %d of 300 were let in, %d hashes were computed", name, in, g.hashed)
			}
		}
	}
}

func TestGuessesLockOutNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := users(t, "ci", "ops")
		g := gate(a)
		for _, address := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"} {
			var wait time.Duration
			tries := 0
			for ; wait == 0 && tries < 100; tries++ {
				_, _, wait = g.Check(t.Context(), a, address, "ci", "guess"+strconv.Itoa(tries))
			}
			if tries != failureRate.burst+1 || wait > failureRate.every {
				t.Errorf("%s had %d guesses, and is to wait %s", address, tries-1, wait)
			}
		}
		before := g.hashed
		if _, ok, wait := g.Check(t.Context(), a, "192.0.2.1", "ci", password); ok || wait == 0 || g.hashed != before {
			t.Error("a guess beyond the limit was hashed")
		}
		for address, user := range map[string]string{"192.0.2.1": "ops", "192.0.2.5": "ci"} {
			if _, ok, _ := g.Check(t.Context(), a, address, user, password); !ok {
				t.Errorf("%s is locked out at %s", user, address)
			}
		}
		if _, ok, _ := g.Check(t.Context(), a, "192.0.2.1", "ci", password); !ok {
			t.Error("who was right a moment ago is locked out")
		}
	})
}

func TestWhatIsRememberedEndsWithItsTimeAndWithTheHash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := users(t, "ci")
		g := gate(a)
		check := func(want bool, hashed int) {
			t.Helper()
			if _, ok, _ := g.Check(t.Context(), a, "192.0.2.1", "ci", password); ok != want || g.hashed != hashed {
				t.Errorf("let in %v, %d hashes", ok, g.hashed)
			}
		}
		check(true, 1)
		time.Sleep(rememberedFor - time.Second)
		check(true, 1)
		time.Sleep(time.Second)
		check(true, 2)
		other, err := bcrypt.GenerateFromPassword([]byte("another"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		a.Users["ci"] = schema.User{Hash: string(other)}
		check(false, 3)
		delete(a.Users, "ci")
		check(false, 4)
		for i := range 2 * maxRemembered {
			g.remember(g.credential("ci", "", strconv.Itoa(i)), time.Now())
		}
		if len(g.remembered) > maxRemembered {
			t.Errorf("%d are remembered", len(g.remembered))
		}
	})
}

func TestOneAddressHasAShareOfThePasswordsThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := users(t, "ci")
		g := gate(a)
		for range cap(g.hashing) {
			g.hashing <- struct{}{}
		}
		ctx, cancel := context.WithCancel(t.Context())
		refused := 0
		for i := range 3 * waitingShare {
			go g.Check(ctx, a, "192.0.2.1", "user"+strconv.Itoa(i), "guess")
			synctest.Wait()
			if len(g.attempts) > waitingShare {
				t.Fatalf("%d wait", len(g.attempts))
			}
			if len(g.attempts) == waitingShare {
				refused++
			}
		}
		go g.Check(ctx, a, "192.0.2.2", "ci", password)
		synctest.Wait()
		if len(g.attempts) != waitingShare+1 {
			t.Errorf("another address finds no room: %d wait", len(g.attempts))
		}
		for i := range 2 * maxWaiting {
			go g.Check(ctx, a, "198.51.100."+strconv.Itoa(i), "ci"+strconv.Itoa(i), "guess")
		}
		synctest.Wait()
		if len(g.attempts) != maxWaiting {
			t.Errorf("%d wait, at most %d may", len(g.attempts), maxWaiting)
		}
		// Nobody gets a slot: all are told to come again, and it cost them nothing.
		_, ok, wait := g.Check(ctx, a, "198.51.100.1", "ci1", "guess")
		time.Sleep(waitForHash)
		synctest.Wait()
		if ok || wait != soon || len(g.attempts) != 0 || len(g.waiting) != 0 || g.hashed != 0 {
			t.Errorf("%v, wait %s, %d attempts, %d addresses", ok, wait, len(g.attempts), len(g.waiting))
		}
		cancel()
	})
}

func TestUnknownUsersCostAsMuchHashingAsKnownOnes(t *testing.T) {
	t.Parallel()
	a := users(t, "a")
	cheap := a.Users["a"].Hash
	best, err := passhash.New([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	a.Users["b"] = schema.User{Hash: "x"}
	a.Users["c"] = schema.User{Hash: "$2a$31$" + cheap[7:]}
	g := gate(a)
	if s := g.decoy.String(); !strings.HasPrefix(s, "$2a$04$") {
		t.Errorf("nobody's hash is %s", s)
	}
	a.Users["e"] = schema.User{Hash: best.String()}
	g.Prepare(a)
	if s := g.decoy.String(); !strings.HasPrefix(s, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("nobody's hash is %s", s)
	}
	for name, want := range map[string]bool{"a": true, "b": false, "c": false, "d": false, "e": true} {
		before := g.hashed
		if _, ok, _ := g.Check(t.Context(), a, name, name, password); ok != want || g.hashed != before+1 {
			t.Errorf("user %s: let in %v, %d hashes", name, ok, g.hashed-before)
		}
	}
}

func TestTheBucketsForgetWhatIsFullAndNeverGrowBeyondTheirBound(t *testing.T) {
	t.Parallel()
	b := newBuckets[string](rate{burst: 2, every: time.Second})
	now := time.Now()
	for i := range maxKeys + 500 {
		b.take(strconv.Itoa(i), now)
	}
	if len(b.full) > maxKeys {
		t.Errorf("%d keys", len(b.full))
	}
	b.take("later", now.Add(time.Minute))
	if len(b.full) != 1 {
		t.Errorf("%d keys after all are full again", len(b.full))
	}
}

func TestAddressesCountPerSubscriberNotPerIPv6Address(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.7:4711":              "192.0.2.7",
		"[::ffff:192.0.2.7]:4711":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:4711": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:4711":         "fe80::/64",
		"@":                           "@",
	} {
		if got := Address(remote); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

// from is a listener whose connections come from these addresses.
type from struct {
	addresses []string
	closed    []string
}

func (f *from) Accept() (net.Conn, error) {
	if len(f.addresses) == 0 {
		return nil, net.ErrClosed
	}
	a := f.addresses[0]
	f.addresses = f.addresses[1:]
	return &peer{of: f, address: a}, nil
}
func (f *from) Close() error   { return nil }
func (f *from) Addr() net.Addr { return nil }

type peer struct {
	net.Conn
	of      *from
	address string
}

func (p *peer) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(mustAddr(p.address)) }
func (p *peer) Close() error         { p.of.closed = append(p.of.closed, p.address); return nil }

func TestNoAddressTakesAllConnections(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := &from{addresses: strings.Fields(strings.Repeat("192.0.2.1:1 ", 5) +
		"192.0.2.2:1 192.0.2.2:1 192.0.2.3:1 192.0.2.4:1 192.0.2.5:1")}
	l := Connections{Max: 4, Address: 2}.Listen(f, slog.New(slog.NewTextHandler(&log, nil)))
	var open []net.Conn
	for range 4 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if got := fmt.Sprint(f.closed); got != "[192.0.2.1:1 192.0.2.1:1 192.0.2.1:1]" {
		t.Errorf("closed: %s", got)
	}
	for range 2 { // twice, as net/http does
		_ = open[0].Close()
	}
	f.closed = nil
	if c, err := l.Accept(); err != nil || c.RemoteAddr().String() != "192.0.2.3:1" {
		t.Errorf("after one has ended: %v, %v", c, err)
	}
	if _, err := l.Accept(); err == nil || fmt.Sprint(f.closed) != "[192.0.2.4:1 192.0.2.5:1]" {
		t.Errorf("a fifth is open: %v, closed %s", err, f.closed)
	}
	for _, want := range []string{"connections of one address are refused", "address=192.0.2.1", "limit=2",
		"--max-connections-per-address", "limit=4", "address=192.0.2.4"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &log)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines for 5 refusals:\n%s", n, &log)
	}
}

func mustAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
