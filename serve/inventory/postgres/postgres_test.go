package postgres_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
	"bakehouse/serve/inventory/inventorytest"
	"bakehouse/serve/inventory/postgres"
	"bakehouse/serve/inventory/sqldb"
)

func TestMain(m *testing.M) { os.Exit(inventorytest.Main{M: m}.Run()) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, location string) *postgres.DB {
	t.Helper()
	const table = "CREATE TABLE things (number INTEGER PRIMARY KEY, name TEXT) STRICT"
	steps := sqldb.Steps{{From: 0, To: 1, Statements: table}}
	db, err := postgres.Open(t.Context(), location, steps)
	check(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

func numbers(t testing.TB, db sqldb.Asker, after int64) (list []int64) {
	t.Helper()
	check(t, db.Each(t.Context(), "SELECT number FROM things WHERE number > $1 ORDER BY number", []any{after},
		func(scan func(...any) error) error {
			var n int64
			err := scan(&n)
			list = append(list, n)
			return err
		}))
	return list
}

// Numbers that come from a sequence are taken early and seen late: a reader that has gone on never sees them.
func TestAChangeThatIsCommittedLateIsNotLost(t *testing.T) {
	location := inventorytest.PostgreSQL(t)
	db := open(t, location)
	late, err := pgx.Connect(t.Context(), location)
	check(t, err)
	defer late.Close(context.Background())
	_, err = late.Exec(t.Context(), "CREATE SEQUENCE naive")
	check(t, err)

	tx, err := late.Begin(t.Context())
	check(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO things SELECT nextval('naive'), 'late'")
	check(t, err)
	early, err := pgx.Connect(t.Context(), location)
	check(t, err)
	defer early.Close(context.Background())
	_, err = early.Exec(t.Context(), "INSERT INTO things SELECT nextval('naive'), 'early'")
	check(t, err)
	first := numbers(t, db, 0)
	check(t, tx.Commit(t.Context()))
	if rest := numbers(t, db, first[len(first)-1]); !slices.Equal(first, []int64{2}) || len(rest) != 0 {
		t.Errorf("the naive way does not lose what it was said to lose: %v, then %v", first, rest)
	}

	const insert = "INSERT INTO things SELECT coalesce(max(number), 0) + 1, $1 FROM things"
	_, err = early.Exec(t.Context(), "DELETE FROM things")
	check(t, err)
	holds, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	other := open(t, location) // another server
	wg.Go(func() {
		err := db.Write(t.Context(), func(tx sqldb.Tx) error {
			err := tx.Exec(t.Context(), insert, "late")
			close(holds)
			<-goOn
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-holds
	wg.Go(func() {
		err := other.Write(t.Context(), func(tx sqldb.Tx) error { return tx.Exec(t.Context(), insert, "early") })
		if err != nil {
			t.Error(err)
		}
	})
	if seen := numbers(t, db, 0); len(seen) != 0 {
		t.Errorf("%v is seen before what has a lower number", seen)
	}
	close(goOn)
	wg.Wait()
	if seen := numbers(t, db, 0); !slices.Equal(seen, []int64{1, 2}) {
		t.Errorf("%v", seen)
	}
}

// After a restart each connection of a pool is broken, and is found to be so when it is used.
func TestARestartOfTheServerFailsNoLaterQuestion(t *testing.T) {
	c := inventorytest.NewCluster(t)
	db := open(t, c.Database(t)+"&pool_max_conns=8")
	fill := func() { // all connections of the pool at once
		var wg sync.WaitGroup
		for range 7 {
			wg.Go(func() {
				var n int
				if err := db.Get(t.Context(), "SELECT 1 FROM pg_sleep(0.05)", nil, &n); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	for range 2 {
		fill()
		c.Kill()
		var n int
		if err := db.Get(t.Context(), "SELECT 1", nil, &n); err == nil {
			t.Error("nothing answers, and it has an answer")
		}
		check(t, c.Start())
		fill()
		check(t, db.Write(t.Context(), func(tx sqldb.Tx) error {
			return tx.Exec(t.Context(), "INSERT INTO things SELECT coalesce(max(number), 0) + 1, 'x' FROM things")
		}))
	}
	if seen := numbers(t, db, 0); !slices.Equal(seen, []int64{1, 2}) {
		t.Errorf("%v", seen)
	}
}

func TestADatabaseThatIsOnlyReadAnswersAndIsWrittenToWhenItMayBeAgain(t *testing.T) {
	location := inventorytest.PostgreSQL(t)
	db, err := inventory.Open(t.Context(), location)
	check(t, err)
	defer db.Close()
	register := func(host string) error {
		_, err := db.Register(t.Context(), inventory.Registration{Host: host, Secret: schema.DigestOf([]byte(host)),
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}, At: time.Unix(1, 0)}, inventory.Claim{})
		return err
	}
	check(t, register("web01"))
	conn, err := pgx.Connect(t.Context(), location)
	check(t, err)
	defer conn.Close(context.Background())
	only := func(mode string) {
		t.Helper()
		name := conn.Config().Database
		_, err := conn.Exec(t.Context(), "ALTER DATABASE "+name+" SET default_transaction_read_only = "+mode)
		check(t, err)
		_, err = conn.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "+
			"WHERE datname = current_database() AND pid <> pg_backend_pid()") // as a failover does
		check(t, err)
	}
	only("on")
	if err := register("web02"); err == nil || !strings.Contains(err.Error(), "25006") {
		t.Errorf("it is only read: %v", err)
	}
	if _, err := db.Secret(t.Context(), "web01"); err != nil {
		t.Errorf("reading: %v", err)
	}
	standby, err := inventory.Open(t.Context(), location)
	if err != nil {
		t.Errorf("a standby cannot be opened: %v", err)
	} else {
		defer standby.Close()
	}
	_, err = conn.Exec(t.Context(), "SET default_transaction_read_only = off")
	check(t, err)
	only("off")
	check(t, register("web02"))
}

func TestAnUnusableDatabaseIsOneErrorWithoutItsPassword(t *testing.T) {
	for location, want := range map[string]string{
		"postgres://ops:s3cret@127.0.0.1:1/x":                 "refused",
		"postgres://ops:s3cret@127.0.0.1:1/x?sslmode=what":    "sslmode",
		"postgres://ops:s3cret@127.0.0.1:1/x?pool_max_conns=": "invalid",
		"postgres://127.0.0.1:1/x?user=u&password=s3cret":     "refused",
		"postgres://ops:s3cret@127.0.0.1:port/x":              "invalid",
		"postgres:///x?host=/nowhere&password=s3cret":         "no such file",
	} {
		db, err := postgres.Open(t.Context(), location, sqldb.Steps{{To: 1}})
		if err == nil {
			db.Close()
			t.Errorf("%s was opened", location)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") ||
			errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want %q", location, err, want)
		}
	}
}
