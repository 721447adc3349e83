package serve

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"bakehouse/schema"
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
		"an unknown host":                {installer, "nohost", http.StatusNotFound, "the fleet acme has no package for host nohost"},
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

func TestGuessingPasswordsIsCutOffForThatUserAtThatAddressOnly(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	w.register("web01")
	var last reply
	for i := 0; last.status != http.StatusTooManyRequests && i < 50; i++ {
		last = w.do(caller{"installer", "guess" + strconv.Itoa(i)}, http.MethodPost, schema.RegisterPath,
			registration("web02"))
	}
	wantStatus(t, last, http.StatusTooManyRequests, "too many attempts")
	if s, err := strconv.Atoi(last.header.Get("Retry-After")); err != nil || s < 1 || s > 10 {
		t.Errorf("Retry-After %q", last.header.Get("Retry-After"))
	}
	wantStatus(t, w.do(caller{"webteam", password}, http.MethodPost, schema.RegisterPath, registration("web02")),
		http.StatusOK, "")
	// it was right before
	wantStatus(t, w.do(installer, http.MethodPost, schema.RegisterPath, registration("web02")), http.StatusOK, "")
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
	check(t, w.server.releases.Follow(t.Context()))
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
