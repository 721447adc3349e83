package serve

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"bakehouse/schema"
	"bakehouse/schema/passhash"
)

func TestOnlyWhoMayRegisterAHostLearnsWhetherThereIsOne(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	register := func(c caller, host string) reply {
		return w.do(c, http.MethodPost, schema.RegisterPath, registration(host))
	}
	for name, c := range map[string]struct {
		caller caller
		host   string
		status int
		text   string
	}{
		"a wrong password":               {caller{"installer", "wrong"}, "web01", http.StatusUnauthorized, "wrong user or password"},
		"an unknown user":                {caller{"nobody", password}, "web01", http.StatusUnauthorized, "wrong user or password"},
		"no user":                        {caller{}, "web01", http.StatusUnauthorized, "wrong user or password"},
		"a wrong password, unknown host": {caller{"installer", "wrong"}, "nohost", http.StatusUnauthorized, "wrong user or password"},
		"no permission at all":           {caller{"idle", password}, "web01", http.StatusForbidden, "may not register host web01"},
		"another team's unknown host":    {caller{"webteam", password}, "db01", http.StatusForbidden, "may not register host db01"},
		"an unknown host":                {installer, "nohost", http.StatusNotFound, "host nohost is not in the fleet acme"},
		"no host name":                   {installer, "../x", http.StatusBadRequest, "host name"},
		"one's own team's host":          {caller{"webteam", password}, "web01", http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) { wantStatus(t, register(c.caller, c.host), c.status, c.text) })
	}
	wrong, unknown := register(caller{"installer", "wrong"}, "web01"), register(caller{"nobody", "wrong"}, "nohost")
	if wrong.same() != unknown.same() {
		t.Errorf("a wrong password and an unknown user are told apart:\n%s\n%s", wrong.same(), unknown.same())
	}
	_, err := w.db.Host(t.Context(), "nohost")
	if err == nil {
		t.Error("a host outside the fleet was registered")
	}
}

func TestARegistrationOfAnotherVersionOrFormIsRefused(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	for name, c := range map[string]struct {
		body   []byte
		status int
		text   string
	}{
		"a later schema": {[]byte(`{"schema":{"min":2,"max":3},"host":"web01"}`),
			http.StatusBadRequest, "versions 2 to 3"},
		"not JSON": {[]byte(`host=web01`), http.StatusBadRequest, "not understood"},
		"a name twice": {[]byte(`{"schema":{"min":1,"max":1},"host":"web01","host":"web02"}`),
			http.StatusBadRequest, "twice"},
		"deep nesting":        {[]byte(strings.Repeat(`[`, 100000)), http.StatusBadRequest, "nested"},
		"longer than allowed": {[]byte(`{"host":"` + strings.Repeat("x", schema.MaxWire) + `"}`), http.StatusRequestEntityTooLarge, "larger"},
		"no body":             {nil, http.StatusBadRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantStatus(t, w.do(installer, http.MethodPost, schema.RegisterPath, c.body), c.status, c.text)
		})
	}
}

func TestGuessingPasswordsIsCutOffBeforeAnyHashing(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	last := reply{}
	for range addressRate.burst + 1 {
		last = w.do(caller{"installer", "guess"}, http.MethodPost, schema.RegisterPath, registration("web01"))
	}
	wantStatus(t, last, http.StatusTooManyRequests, "too many attempts")
	s, err := strconv.Atoi(last.header.Get("Retry-After"))
	if err != nil || s < 1 || s > int(addressRate.every/time.Second) {
		t.Errorf("Retry-After %q", last.header.Get("Retry-After"))
	}
	// With every hashing slot taken, a refusal that needed one would wait.
	for range cap(w.server.users.hashing) {
		w.server.users.hashing <- struct{}{}
	}
	wantStatus(t, w.do(installer, http.MethodPost, schema.RegisterPath, registration("web01")),
		http.StatusTooManyRequests, "too many attempts")
	wantStatus(t, w.get(installer, schema.PackagePath+"web01"), http.StatusTooManyRequests, "too many attempts")
}

func TestSuccessesDoNotCountAsGuesses(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	for range addressRate.burst + 5 {
		w.register("web01")
	}
}

func TestPasswordWorkIsBoundedHoweverManyAsk(t *testing.T) {
	f, _ := standardFleet(t)
	g := newGate(start(t, f).server.log)
	g.prepare(&f.access)
	for range cap(g.hashing) {
		g.hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	refused := make(chan time.Duration, 3*maxWaiting)
	for i := range 3 * maxWaiting {
		asking.Go(func() {
			_, ok, wait := g.check(ctx, &f.access, "192.0.2."+strconv.Itoa(i), "user"+strconv.Itoa(i), "guess")
			if ok {
				t.Error("let in")
			}
			refused <- wait
		})
	}
	for range 2 * maxWaiting { // those beyond the queue are refused while the slots are still taken
		if wait := <-refused; wait <= 0 {
			t.Error("refused without saying when to come again")
		}
	}
	cancel()
	asking.Wait()
}

func TestOneAddressCannotLockAUserOut(t *testing.T) {
	g := newGate(newGate(nil).log)
	now := time.Now()
	tries := 0
	for at := now; at.Before(now.Add(time.Hour)); at = at.Add(time.Second) {
		if g.addresses.take("192.0.2.1", at) == 0 {
			if wait := g.names.take("installer", at); wait > 0 {
				t.Fatalf("after %s and %d tries from one address the user is locked for %s", at.Sub(now), tries, wait)
			}
			tries++
		}
	}
	if most := addressRate.burst + int(time.Hour/addressRate.every) + 1; tries > most {
		t.Errorf("%d tries in an hour, at most %d", tries, most)
	}
}

func TestTheLimiterForgetsWhatIsFullAndNeverGrowsBeyondItsBound(t *testing.T) {
	l := newLimiter(rate{burst: 2, every: time.Second})
	now := time.Now()
	for i := range maxKeys + 500 {
		l.take(strconv.Itoa(i), now)
	}
	if len(l.full) > maxKeys {
		t.Errorf("%d keys", len(l.full))
	}
	l.take("later", now.Add(time.Minute))
	if len(l.full) != 1 {
		t.Errorf("%d keys after all are full again", len(l.full))
	}
}

func TestUnknownUsersCostAsMuchHashingAsKnownOnes(t *testing.T) {
	cheap, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost+2)
	check(t, err)
	best, err := passhash.New([]byte(password))
	check(t, err)
	g := newGate(start(t, newPublished(t)).server.log)
	a := &schema.Access{Users: map[string]schema.User{"a": {Hash: string(cheap)}, "b": {Hash: "x"},
		"c": {Hash: "$2a$31$" + string(cheap[7:])}}}
	g.prepare(a)
	if s := g.decoy.String(); !strings.HasPrefix(s, "$2a$06$") {
		t.Errorf("nobody's hash is %s", s)
	}
	a.Users["e"] = schema.User{Hash: best.String()}
	g.prepare(a)
	if s := g.decoy.String(); !strings.HasPrefix(s, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("nobody's hash is %s", s)
	}
	for name, want := range map[string]bool{"a": true, "b": false, "c": false, "d": false, "e": true} {
		if _, ok, _ := g.check(t.Context(), a, name, name, password); ok != want {
			t.Errorf("user %s: let in %v", name, ok)
		}
	}
	for _, name := range []string{"a", "e"} {
		if _, ok, _ := g.check(t.Context(), a, "a", name, password+strings.Repeat("x", passhash.MaxLen)); ok {
			t.Errorf("user %s: a password longer than any was let in", name)
		}
	}
}

// argon2id takes 19 MiB each time, and keeps it until the collector comes.
func TestAtMostTwoHashesAreComputedAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	if n := cap(newGate(nil).hashing); n != 2 {
		t.Errorf("%d on 16 cores", n)
	}
	runtime.GOMAXPROCS(2)
	if n := cap(newGate(nil).hashing); n != 1 {
		t.Errorf("%d on 2 cores", n)
	}
}

func newPublished(t testing.TB) *fleet {
	f, _ := standardFleet(t)
	return f
}

func TestFailuresCountPerSubscriberNotPerIPv6Address(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:4711":              "192.0.2.7",
		"[::ffff:192.0.2.7]:4711":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:4711": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:4711":         "fe80::/64",
		"@":                           "@",
	} {
		if got := address(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

func TestADownloadIsTheNewestPackageThatIsNotRevoked(t *testing.T) {
	f, packs := standardFleet(t)
	second := f.bake("web01's second")
	f.assign("web01", 2, second, packs["web01"])
	f.publish()
	w := start(t, f)
	r := w.get(installer, schema.PackagePath+"web01")
	if r.status != http.StatusOK || string(r.body) != string(second.bytes) {
		t.Fatalf("%d, %d bytes", r.status, len(r.body))
	}
	if got := r.header.Get("Content-Disposition"); got != "attachment; filename=bakehouse-agent_1.0~w_amd64.deb" {
		t.Errorf("Content-Disposition: %s", got)
	}
	r = w.do(installer, http.MethodHead, schema.PackagePath+"web01", nil)
	if r.status != http.StatusOK || len(r.body) != 0 || r.header.Get("Content-Length") != strconv.Itoa(len(second.bytes)) {
		t.Errorf("HEAD: %d %v", r.status, r.header)
	}
	f.Policy.Revoked = []schema.Digest{second.digest}
	f.publish()
	check(t, w.server.releases.follow(t.Context()))
	if r := w.get(installer, schema.PackagePath+"web01"); string(r.body) != string(packs["web01"].bytes) {
		t.Errorf("a revoked package is handed out: %d, %d bytes", r.status, len(r.body))
	}
	nothing := w.get(installer, schema.PackagePath+"nohost")
	wantStatus(t, nothing, http.StatusNotFound, "not found")
	for _, c := range []caller{{"idle", password}} {
		if r := w.get(c, schema.PackagePath+"web01"); r.same() != nothing.same() {
			t.Errorf("a user without the permission learns more: %s", r.same())
		}
	}
	wantStatus(t, w.get(w.register("web01"), schema.PackagePath+"web01"), http.StatusUnauthorized, "wrong user")
}
