package inventorytest

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bakehouse/serve/inventory"
)

func aToken(id string, uses int) inventory.Token {
	return inventory.Token{ID: id, Secret: sum(id), User: "ops", Created: t0, Expires: t0.Add(time.Hour), Uses: uses,
		Hosts: []string{"~web.*", "db01"}, Site: "north", Ring: "canary", Replace: true}
}

func ended(how, by string, at time.Time) inventory.End {
	return inventory.End{How: how, By: by, At: at}
}

func byToken(host, secret, token string, at time.Time) inventory.Registration {
	r := registration(host, secret)
	r.Token, r.At = token, at
	return r
}

func aTokenSurvivesARestartAsItWasMadeAndIsRevokedOnce(t *testing.T, place Place) {
	at := place(t)
	db := open(t, at)
	want := aToken("a", 2)
	if err := errors.Join(db.CreateToken(t.Context(), want), db.Close()); err != nil {
		t.Fatal(err)
	}
	db = open(t, at)
	defer db.Close()
	if got, err := db.Token(t.Context(), "a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, by := range []string{"ops", "another"} {
		if err := db.RevokeToken(t.Context(), "a", by, t0.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	want.Revoked, want.RevokedBy = t0.Add(time.Minute), "ops"
	if list, err := db.Tokens(t.Context()); err != nil || !reflect.DeepEqual(list, []inventory.Token{want}) {
		t.Errorf("%+v, %v", list, err)
	}
	if err := db.RevokeToken(t.Context(), "b", "ops", t0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown token: %v", err)
	}
	if _, err := db.Token(t.Context(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown token: %v", err)
	}
	later := inventory.Token{ID: "c", Created: want.Expires.Add(inventory.TokensKept + time.Hour)}
	if err := db.CreateToken(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Token(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a month after its end it is still there: %v", err)
	}
}

func ofManyThatRaceForATokensLastUsesNoneGetsOneTooMany(t *testing.T, place Place) {
	at := place(t)
	a, b := open(t, at), open(t, at) // two servers
	defer a.Close()
	defer b.Close()
	const uses = 5
	if err := a.CreateToken(t.Context(), aToken("a", uses)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var won, lost atomic.Int32
	for i := range 4 * uses {
		wg.Go(func() {
			db := []*inventory.DB{a, b}[i%2]
			host := fmt.Sprint("h", i)
			_, err := db.Register(t.Context(), byToken(host, "s", "a", t0), inventory.Claim{})
			_, missing := db.Secret(t.Context(), host)
			switch {
			case err == nil && missing == nil:
				won.Add(1)
			case errors.Is(err, inventory.ErrTokenSpent) && errors.Is(missing, fs.ErrNotExist):
				lost.Add(1)
			default:
				t.Error(err, missing)
			}
		})
	}
	wg.Wait()
	got, err := b.Token(t.Context(), "a")
	if won.Load() != uses || lost.Load() != 3*uses || err != nil || got.Used != uses {
		t.Errorf("%d won, %d lost, %d counted, %v", won.Load(), lost.Load(), got.Used, err)
	}
}

func aTokenThatIsSpentRegistersNobody(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	for _, id := range []string{"one", "late", "revoked"} {
		if err := db.CreateToken(t.Context(), aToken(id, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.RevokeToken(t.Context(), "revoked", "ops", t0); err != nil {
		t.Fatal(err)
	}
	register := func(host, token string, at time.Time, want error) {
		t.Helper()
		r := byToken(host, host+token, token, at)
		if _, err := db.Register(t.Context(), r, inventory.Claim{}); !errors.Is(err, want) {
			t.Errorf("%s by %s: %v, want %v", host, token, err, want)
		}
	}
	register("h1", "one", t0, nil)
	register("h1", "one", t0.Add(time.Minute), nil) // its answer was lost
	register("h2", "one", t0, inventory.ErrTokenSpent)
	register("h2", "late", t0.Add(time.Hour), inventory.ErrTokenSpent)
	register("h2", "revoked", t0, inventory.ErrTokenSpent)
	register("h2", "nobody's", t0, inventory.ErrTokenSpent)
	if err := db.Report("h1", inventory.Seen{At: t0.Add(2 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	register("h1", "one", t0.Add(3*time.Minute), inventory.ErrLive) // it polls: that is another one, or a replay
	if h, err := db.Host(t.Context(), "h1"); err != nil || h.Token != "one" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := db.Host(t.Context(), "h2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("h2 was registered: %v", err)
	}
}

func aLiveRegistrationIsReplacedByWhoHasItsSecret(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	register := func(secret, old string, want error) {
		t.Helper()
		c := inventory.Claim{}
		if old != "" {
			c.Secret = sum(old)
		}
		if _, err := db.Register(t.Context(), registration("web01", secret), c); !errors.Is(err, want) {
			t.Errorf("%s with %q: %v, want %v", secret, old, err, want)
		}
		if err := db.Report("web01", inventory.Seen{At: t0.Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	register("one", "", nil)
	register("two", "", inventory.ErrLive)
	register("two", "wrong", inventory.ErrLive)
	register("two", "one", nil)
	register("three", "one", inventory.ErrLive) // a replay
	register("three", "two", nil)
}

func anEndedRegistrationIsNoLongerOneAndIsRememberedUntilItIsForgotten(t *testing.T, place Place) {
	db := open(t, place(t))
	defer db.Close()
	if err := db.End(t.Context(), "web01", ended(inventory.Revoked, "ops", t0)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown host: %v", err)
	}
	if err := db.Forget(t.Context(), "web01"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unknown host: %v", err)
	}
	if _, err := db.Register(t.Context(), registration("web01", "one"), inventory.Claim{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Report("web01", inventory.Seen{At: t0.Add(time.Hour), Timestamp: 7}); err != nil {
		t.Fatal(err)
	}
	for _, e := range []inventory.End{ended(inventory.Revoked, "ops", t0),
		ended(inventory.Unregistered, "host web01", t0.Add(time.Hour))} {
		if err := db.End(t.Context(), "web01", e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Secret(t.Context(), "web01"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its secret still counts: %v", err)
	}
	h, err := db.Host(t.Context(), "web01")
	if err != nil || h.End != ended(inventory.Revoked, "ops", t0) || h.Seen.Timestamp != 7 ||
		h.Secret != sum("one") {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := db.Register(t.Context(), registration("web01", "two"), inventory.Claim{}); err != nil {
		t.Errorf("it cannot be registered again: %v", err)
	}
	if h, err := db.Host(t.Context(), "web01"); err != nil || h.End != (inventory.End{}) || h.Secret != sum("two") {
		t.Errorf("%+v, %v", h, err)
	}
	if err := db.Forget(t.Context(), "web01"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Host(t.Context(), "web01"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was not forgotten: %v", err)
	}
}

func theAuditLogKeepsTheLastEventsInTheirOrder(t *testing.T, place Place) {
	at := place(t)
	db := open(t, at)
	var want []inventory.Event
	for i := range 5 {
		e := inventory.Event{At: t0.Add(time.Duration(i) * time.Hour), What: "registered", Who: "ops",
			From: "192.0.2.7", Host: fmt.Sprint("h", i), Token: "a", Detail: "d", Count: i}
		want = append(want, e)
	}
	err := errors.Join(db.Append(t.Context(), want[:2]...), db.Append(t.Context(), want[2:]...), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	db = open(t, at)
	defer db.Close()
	for i := range want {
		want[i].Seq = int64(i + 1)
	}
	for since, part := range map[time.Duration][]inventory.Event{0: want, 90 * time.Minute: want[2:],
		99 * time.Hour: nil} {
		if got, err := db.Events(t.Context(), t0.Add(since), 100); err != nil || !reflect.DeepEqual(got, part) {
			t.Errorf("since %s: %+v, %v", since, got, err)
		}
	}
	if got, err := db.Events(t.Context(), t0, 2); err != nil || !reflect.DeepEqual(got, want[3:]) {
		t.Errorf("the last two: %+v, %v", got, err)
	}
	late := make([]inventory.Event, inventory.Pruned)
	for i := range late {
		late[i] = inventory.Event{At: t0.Add(inventory.MaxAge + 150*time.Minute), What: "registered"}
	}
	if err := db.Append(t.Context(), late...); err != nil {
		t.Fatal(err)
	}
	got, err := db.Events(t.Context(), time.Time{}, 1000)
	if err != nil || len(got) != inventory.Pruned+2 || got[0].Seq != 4 {
		t.Errorf("%d events are left, the first is %+v, %v", len(got), got[0], err)
	}
}
