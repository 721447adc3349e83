package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/audit"
	"bakehouse/serve/desk"
	"bakehouse/serve/inventory"
	"bakehouse/serve/token"
)

// create makes a join token as a user.
func (w *site) create(c caller, s token.Spec) desk.Created {
	w.t.Helper()
	if s.TTL == "" {
		s.TTL = "1h"
	}
	r := w.do(c, http.MethodPost, schema.TokensPath, s)
	if r.status != http.StatusOK {
		w.t.Fatalf("create: %d %s", r.status, r.body)
	}
	var created desk.Created
	check(w.t, json.Unmarshal(r.body, &created))
	return created
}

// join registers a host by a join token.
func (w *site) join(secret string, q schema.RegisterRequest) reply {
	w.t.Helper()
	return w.do(caller{}, http.MethodPost, schema.RegisterPath, q, "Authorization", "Bearer "+secret)
}

func (w *site) events(what string) (list []inventory.Event) {
	w.t.Helper()
	all, err := w.db.Events(w.t.Context(), time.Time{}, 1000)
	check(w.t, err)
	for _, e := range all {
		if e.What == what {
			list = append(list, e)
		}
	}
	return list
}

func TestHostsJoinByATokenUntilItsUsesAreGone(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	made := w.create(installer, token.Spec{Uses: 2, Hosts: []string{"~web.*"}})
	if made.Covers == nil || *made.Covers != len(packs) || made.User != "installer" || made.State != desk.Valid {
		t.Errorf("%+v", made)
	}
	for _, host := range []string{"web01", "web02"} {
		r := w.join(made.Secret, registration(host))
		wantStatus(t, r, http.StatusOK, "")
		var a schema.RegisterAnswer
		check(t, schema.Decode(r.body, &a))
		w.follow(f, caller{host, a.Secret})
	}
	wantStatus(t, w.join(made.Secret, registration("web03")), http.StatusForbidden, "used up: it was good for 2")
	r := w.get(installer, schema.TokensPath)
	if !strings.Contains(string(r.body), `"state":"used-up"`) || strings.Contains(string(r.body), made.Secret) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if strings.Contains(w.log.String(), made.Secret) {
		t.Error("the log has the token")
	}
	joined := w.events(audit.Registered)
	if len(joined) != 2 || joined[0].Who != "token "+made.ID || joined[0].Host != "web01" || joined[0].From == "" {
		t.Errorf("audited: %+v", joined)
	}
	if e := w.events(audit.TokenCreated); len(e) != 1 || e[0].Who != "installer" || e[0].Token != made.ID {
		t.Errorf("audited: %+v", e)
	}
}

func TestAReplayedTokenTakesNoHostsPlace(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	made := w.create(installer, token.Spec{Uses: 5})
	r := w.join(made.Secret, registration("web01"))
	var a schema.RegisterAnswer
	check(t, schema.Decode(r.body, &a))
	host := caller{"web01", a.Secret}
	w.poll(host, schema.PollRequest{})
	q := registration("web01")
	for range 2 {
		again := w.join(made.Secret, q)
		wantStatus(t, again, http.StatusConflict, "host web01 is registered, by installer, and polled at ")
		if hint := again.problem().Hint; !strings.Contains(hint, "bakehouse host revoke web01") {
			t.Errorf("hint %q", hint)
		}
		q.Replace = true // nor by saying so
	}
	q.Secret = "another"
	wantStatus(t, w.join(made.Secret, q), http.StatusConflict, "is not the one of that registration")
	if _, r := w.poll(host, schema.PollRequest{}); r.status != http.StatusOK {
		t.Errorf("the host is locked out: %d", r.status)
	}
	// The host itself may, and so may a token that says so.
	q.Secret = host.secret
	wantStatus(t, w.join(made.Secret, q), http.StatusOK, "")
	replaces := w.create(installer, token.Spec{Uses: 1, Replace: true})
	host = w.register("web02")
	w.poll(host, schema.PollRequest{})
	wantStatus(t, w.join(replaces.Secret, registration("web02")), http.StatusOK, "")
	if e := w.events(audit.Replaced); len(e) != 2 {
		t.Errorf("audited: %+v", e)
	}
}

func TestATokenIsForItsHostsSiteAndRingAlone(t *testing.T) {
	f, _ := standardFleet(t)
	f.Policy.Sites["north"] = schema.Site{URL: "https://north.example"}
	f.Policy.Rings = []schema.Ring{{Name: "canary"}}
	f.publish()
	w := start(t, f)
	for what, c := range map[string]struct {
		spec token.Spec
		host string
		text string
	}{
		"another name": {token.Spec{Hosts: []string{"web01", "~web03"}}, "web02",
			"is not for host web02, but for web01, ~web03"},
		"an unknown one": {token.Spec{Hosts: []string{"web01"}}, "nohost", "is not for host nohost"},
	} {
		c.spec.Uses = 9
		made := w.create(installer, c.spec)
		t.Run(what, func(t *testing.T) {
			wantStatus(t, w.join(made.Secret, registration(c.host)), http.StatusForbidden, c.text)
			wantStatus(t, w.join(made.Secret, registration("web01")), http.StatusOK, "")
		})
	}
	// No host is of that site or ring, so nobody gets a token for it: only a later release could move one there.
	for _, spec := range []token.Spec{{Uses: 1, TTL: "1h", Site: "north"}, {Uses: 1, TTL: "1h", Ring: "canary"}} {
		r := w.do(installer, http.MethodPost, schema.TokensPath, spec)
		wantStatus(t, r, http.StatusBadRequest, "for no host that user installer may register")
		stored, text, err := token.New(spec, "installer", nil, time.Now())
		check(t, err)
		check(t, w.db.CreateToken(t.Context(), stored))
		wantStatus(t, w.join(text, registration("web01")), http.StatusForbidden, "and host web01 is in ")
	}
	wantStatus(t, w.join(w.create(installer, token.Spec{Uses: 1}).Secret, registration("nohost")),
		http.StatusNotFound, "the fleet acme has no package for host nohost")
}

func TestATokenOfAnotherFleetOrAGuessedOneIsToldNothing(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	made := w.create(installer, token.Spec{Uses: 1, TTL: "1m"})
	_, foreign, err := token.New(token.Spec{Uses: 1, TTL: "1h"}, "installer", nil, time.Now())
	check(t, err)
	id, _ := token.ID(foreign)
	guessed := strings.Replace(foreign, id, made.ID, 1) // the right ID with another secret
	check(t, w.db.RevokeToken(t.Context(), made.ID, "ops", time.Now()))
	want := w.join(foreign, registration("web01"))
	wantStatus(t, want, http.StatusUnauthorized, "wrong join token")
	for _, wrong := range []string{guessed, made.Secret[:len(made.Secret)-1], made.Secret + "A", "", "x", made.ID,
		strings.Repeat("A", 8000)} {
		if r := w.join(wrong, registration("web01")); r.same() != want.same() {
			t.Errorf("%.60q is told apart:\n%s\n%s", wrong, r.same(), want.same())
		}
	}
	wantStatus(t, w.join(made.Secret, registration("web01")), http.StatusForbidden, "was revoked by ops at")
	if _, err := w.db.Secret(t.Context(), "web01"); err == nil {
		t.Error("somebody was registered")
	}
}

func TestGuessesOfTokensAreLimitedAndNeverLockTheRightOneOut(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	made := w.create(installer, token.Spec{Uses: 1})
	_, foreign, err := token.New(token.Spec{Uses: 1, TTL: "1h"}, "installer", nil, time.Now())
	check(t, err)
	id, _ := token.ID(foreign)
	guessed := strings.Replace(foreign, id, made.ID, 1)
	var last reply
	for range 30 {
		last = w.join(guessed, registration("web01"))
	}
	wantStatus(t, last, http.StatusTooManyRequests, "too many attempts with wrong join tokens")
	if last.header.Get("Retry-After") == "" {
		t.Error("nothing says when to come again")
	}
	wantStatus(t, w.join(made.Secret, registration("web01")), http.StatusOK, "")
	if e := w.events(audit.Failed); len(e) != 1 || e[0].Token != made.ID {
		t.Errorf("30 guesses are %d lines of the audit log: %+v", len(e), e)
	}
}

// setUser changes a user of the fleet and has the server notice.
func (w *site) setUser(f *fleet, name string, u *schema.User) {
	w.t.Helper()
	if u == nil {
		delete(f.access.Users, name)
	} else {
		f.access.Users[name] = *u
	}
	f.publish()
	check(w.t, w.server.releases.Tick(w.t.Context()))
}

func TestATokenGrowsNobodysPrivileges(t *testing.T) {
	f, _ := standardFleet(t)
	f.assign("db01", 1, f.bake("db01"))
	user := f.access.Users["webteam"]
	f.access.Users["registers"] = schema.User{Hash: user.Hash, Permissions: map[string][]string{
		schema.PermRegister: {"~.*"}}}
	f.access.Users["makes"] = schema.User{Hash: user.Hash, Permissions: map[string][]string{schema.PermToken: {"~.*"}}}
	f.access.Users["replaces-not"] = schema.User{Hash: user.Hash, Permissions: map[string][]string{
		schema.PermToken: {"~.*"}, schema.PermRegister: {"~web.*"}}}
	f.publish()
	w := start(t, f)
	spec := token.Spec{Uses: 9, TTL: "1h"}
	for name, missing := range map[string]string{"registers": "token", "makes": "register", "idle": "token"} {
		wantStatus(t, w.do(caller{name, password}, http.MethodPost, schema.TokensPath, spec), http.StatusForbidden,
			"user "+name+" has no permission "+missing)
	}
	wantStatus(t, w.do(caller{"idle", password}, http.MethodGet, schema.TokensPath, nil), http.StatusForbidden,
		"has no permission token")
	replacing := spec
	replacing.Replace = true
	wantStatus(t, w.do(caller{"replaces-not", password}, http.MethodPost, schema.TokensPath, replacing),
		http.StatusForbidden, "has no permission revoke")
	// Of all hosts, as far as their creator may register them.
	for _, name := range []string{"webteam", "replaces-not"} {
		made := w.create(caller{name, password}, token.Spec{Uses: 9, Hosts: []string{"~.*"}})
		wantStatus(t, w.join(made.Secret, registration("db01")), http.StatusForbidden, "may not register it")
		wantStatus(t, w.join(made.Secret, registration("web01")), http.StatusOK, "")
	}
	wantStatus(t, w.do(caller{"webteam", password}, http.MethodPost, schema.TokensPath,
		token.Spec{Uses: 1, TTL: "1h", Hosts: []string{"db01"}}), http.StatusBadRequest,
		"for no host that user webteam")
	// Nor is another team's token seen or revoked.
	dbs := w.create(installer, token.Spec{Uses: 1, Hosts: []string{"db01"}})
	if r := w.get(caller{"webteam", password}, schema.TokensPath); strings.Contains(string(r.body), dbs.ID) {
		t.Errorf("%s", r.body)
	}
	wantStatus(t, w.do(caller{"webteam", password}, http.MethodDelete, schema.TokensPath+"/"+dbs.ID, nil),
		http.StatusNotFound, "no join token")
	wantStatus(t, w.do(installer, http.MethodDelete, schema.TokensPath+"/"+dbs.ID, nil), http.StatusNoContent, "")
	wantStatus(t, w.join(dbs.Secret, registration("db01")), http.StatusForbidden, "was revoked by installer at")
}

func TestATokenOfAUserWhoIsGoneOrMayNoLongerCountsNoLonger(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	user := f.access.Users["webteam"]
	made := w.create(caller{"webteam", password}, token.Spec{Uses: 9, Replace: true})
	host := w.register("web02")
	w.poll(host, schema.PollRequest{})
	without := func(permission string) *schema.User {
		u := schema.User{Hash: user.Hash, Permissions: map[string][]string{}}
		for p, hosts := range user.Permissions {
			if p != permission {
				u.Permissions[p] = hosts
			}
		}
		return &u
	}
	for what, c := range map[string]struct {
		user *schema.User
		text string
	}{
		"gone":             {nil, "user webteam, who created it, is no user any more"},
		"without register": {without(schema.PermRegister), "has the permission register no longer"},
		"without token":    {without(schema.PermToken), "has the permission token no longer"},
	} {
		w.setUser(f, "webteam", c.user)
		t.Run(what, func(t *testing.T) {
			wantStatus(t, w.join(made.Secret, registration("web01")), http.StatusForbidden, c.text)
			if r := w.get(installer, schema.TokensPath); !strings.Contains(string(r.body), `"state":"void"`) {
				t.Errorf("%s", r.body)
			}
		})
	}
	w.setUser(f, "webteam", without(schema.PermRevoke))
	wantStatus(t, w.join(made.Secret, registration("web02")), http.StatusConflict, "is registered")
	w.setUser(f, "webteam", &user)
	wantStatus(t, w.join(made.Secret, registration("web02")), http.StatusOK, "")
}

func TestAUserWhoMayOnlyRegisterCannotTakeALiveHostsPlace(t *testing.T) {
	f, _ := standardFleet(t)
	user := f.access.Users["installer"]
	f.access.Users["registers"] = schema.User{Hash: user.Hash, Permissions: map[string][]string{
		schema.PermRegister: {"~.*"}}}
	f.publish()
	w := start(t, f)
	host := w.register("web01")
	w.poll(host, schema.PollRequest{})
	q := registration("web01")
	q.Replace = true
	registers := caller{"registers", password}
	wantStatus(t, w.do(registers, http.MethodPost, schema.RegisterPath, q), http.StatusConflict,
		"user registers may not replace it without the permission revoke")
	q.Secret = host.secret
	wantStatus(t, w.do(registers, http.MethodPost, schema.RegisterPath, q), http.StatusOK, "")
	wantStatus(t, w.do(registers, http.MethodPost, schema.HostsPath+"web01/revoke", nil), http.StatusForbidden,
		"has no permission revoke for host web01")
	wantStatus(t, w.do(registers, http.MethodDelete, schema.HostsPath+"web01", nil), http.StatusForbidden,
		"has no permission revoke for host web01")
	wantStatus(t, w.get(registers, schema.AuditPath), http.StatusForbidden, "has no permission audit")
}

func TestARevokedHostIsToldSoAndAnybodyElseIsNot(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	host := w.register("web01")
	w.poll(host, schema.PollRequest{})
	wantStatus(t, w.do(installer, http.MethodPost, schema.HostsPath+"web01/revoke", nil), http.StatusNoContent, "")
	wantStatus(t, w.do(installer, http.MethodPost, schema.HostsPath+"web01/revoke", nil), http.StatusBadRequest,
		"ended already: revoked by installer at")
	_, r := w.poll(host, schema.PollRequest{})
	wantStatus(t, r, http.StatusUnauthorized, "the registration of host web01 has ended: revoked by installer at ")
	never := w.get(caller{"nohost", "x"}, schema.TreePath+"00")
	wrong := w.get(caller{"web01", "x"}, schema.TreePath+"00")
	if never.same() != wrong.same() {
		t.Errorf("a revoked host is told apart:\n%s\n%s", wrong.same(), never.same())
	}
	wantStatus(t, w.do(installer, http.MethodPost, schema.RegisterPath, registration("web01")), http.StatusOK, "")

	wantStatus(t, w.do(installer, http.MethodDelete, schema.HostsPath+"web01", nil), http.StatusNoContent, "")
	wantStatus(t, w.do(installer, http.MethodDelete, schema.HostsPath+"web01", nil), http.StatusNotFound,
		"no registration of host web01")
	for what, who := range map[string]string{audit.Revoked: "installer", audit.Forgotten: "installer"} {
		if e := w.events(what); len(e) != 1 || e[0].Who != who || e[0].Host != "web01" {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

func TestAHostThatUnregistersIsNotRegisteredAnyMore(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	host := w.register("web01")
	w.poll(host, schema.PollRequest{})
	wantStatus(t, w.do(caller{"web01", "wrong"}, http.MethodPost, schema.UnregisterPath, nil),
		http.StatusUnauthorized, "")
	wantStatus(t, w.do(host, http.MethodPost, schema.UnregisterPath, nil), http.StatusNoContent, "")
	_, r := w.poll(host, schema.PollRequest{})
	wantStatus(t, r, http.StatusUnauthorized, "has ended: unregistered by host web01 at ")
	wantStatus(t, w.do(installer, http.MethodPost, schema.RegisterPath, registration("web01")), http.StatusOK, "")
}

func TestTheAuditLogTellsWhoDidWhatFromWhereAndNoSecret(t *testing.T) {
	f, _ := standardFleet(t)
	f.access.Users["auditor"] = schema.User{Hash: f.access.Users["idle"].Hash,
		Permissions: map[string][]string{schema.PermAudit: {"~web0[0-5]"}}}
	f.publish()
	w := start(t, f)
	begin := time.Now().Add(-time.Second)
	host := w.register("web01")
	w.register("web06")
	made := w.create(installer, token.Spec{Uses: 1})
	typo := caller{"my secret password", "x"}
	wantStatus(t, w.do(typo, http.MethodPost, schema.RegisterPath, registration("web01")), http.StatusUnauthorized, "")
	wantStatus(t, w.do(caller{"mypassword", "x"}, http.MethodPost, schema.RegisterPath, registration("web01")),
		http.StatusUnauthorized, "")
	wantStatus(t, w.do(caller{"installer", "wrong"}, http.MethodPost, schema.RegisterPath, registration("web01")),
		http.StatusUnauthorized, "")
	r := w.get(caller{"auditor", password}, schema.AuditPath+"?since="+begin.UTC().Format(time.RFC3339))
	var answer desk.Events
	check(t, schema.Decode(r.body, &answer))
	var seen []string
	for _, e := range answer.Events {
		seen = append(seen, e.What+" "+e.Who+" "+e.Host)
		if !strings.HasPrefix(e.From, "127.0.0.1") {
			t.Errorf("from %q: %+v", e.From, e)
		}
	}
	want := []string{"registered installer web01", "token-created installer ", "failed unknown user ",
		"failed installer "}
	if !slices.Equal(seen, want) {
		t.Errorf("%q\nwant %q", seen, want)
	}
	for _, secret := range []string{host.secret, made.Secret, password, "mypassword"} {
		if strings.Contains(string(r.body), secret) {
			t.Errorf("%s is in %s", secret, r.body)
		}
	}
	wantStatus(t, w.get(caller{"auditor", password}, schema.AuditPath+"?since=yesterday"), http.StatusBadRequest,
		"invalid time")
}

// A fleet that boots: whether it takes 10 seconds is for the benchmark to say, that nobody is refused for this test.
func TestThreeHundredHostsOfOneAddressJoinAtOnceByOneToken(t *testing.T) {
	n := 300 / needs.Every(1)
	f := newFleet(t)
	p := f.bake("all")
	for i := range n {
		f.assign(fmt.Sprintf("web%03d", i), 1, p)
	}
	f.publish()
	w := start(t, f)
	made := w.create(installer, token.Spec{Uses: n})
	start := time.Now()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if r := w.join(made.Secret, registration(fmt.Sprintf("web%03d", i))); r.status != http.StatusOK {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	all.Wait()
	t.Logf("%d hosts registered in %s", n, time.Since(start))
	if got, err := w.db.Token(t.Context(), made.ID); err != nil || got.Used != n {
		t.Errorf("%d uses counted, %v", got.Used, err)
	}
	wantStatus(t, w.join(made.Secret, registration("web000")), http.StatusOK, "") // asked again, its answer was lost
}
