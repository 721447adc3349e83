package outcome

import (
	"reflect"
	"testing"
)

func TestEveryCodeHasOneClass(t *testing.T) {
	t.Parallel()
	// What is signed, done or local ends the alarm, so each is named here as well as in the table.
	want := map[Class][]string{
		Done:   {"current", "installed"},
		Signed: {"disabled", "no-ring", "no-target", "not-selected", "revoked", "waiting", "window"},
		Local: {"drift", "failed-here", "host-condition", "install-failed", "paused", "rolled-back",
			"unhealthy"},
		Server: {"error", "expired", "gate", "halted", "rejected", "rollout-paused", "server-hold", "site-behind",
			"unreachable", "unverified"},
	}
	got := map[Class][]string{}
	for _, code := range Codes() {
		got[ClassOf(code)] = append(got[ClassOf(code)], code)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, code := range []string{"", "log-fork", "no-such-code"} {
		if ClassOf(code) != Server || GroupOf(code) != Withheld {
			t.Errorf("%q is %s, %s", code, ClassOf(code), GroupOf(code))
		}
	}
}

func TestWhatAHostDecidesOrSuffersByItselfDoesNotCountAgainstARollout(t *testing.T) {
	t.Parallel()
	want := map[Group][]string{
		UpToDate: {"current", "installed"},
		Waiting: {"disabled", "drift", "no-ring", "no-target", "not-selected", "paused", "revoked", "rolled-back",
			"waiting", "window"},
		Withheld: {"error", "expired", "gate", "halted", "rejected", "rollout-paused", "server-hold", "site-behind",
			"unreachable"},
		Blocked:  {"host-condition"},
		Failed:   {"failed-here", "install-failed", "unhealthy"},
		Rejected: {"unverified"},
	}
	got := map[Group][]string{}
	for _, code := range Codes() {
		g := GroupOf(code)
		if got[g] = append(got[g], code); g == Withheld && ClassOf(code) != Server {
			t.Errorf("%s is withheld, and no alarm runs for it", code)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
