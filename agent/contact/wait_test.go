package contact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema/fault"
)

func TestAHostThatBootsBeforeItsConfigIsMergedIsRegisteredLaterWithoutHammering(t *testing.T) {
	answers := func(status int) error {
		return Explain(&wire.StatusError{Status: status, Message: "as said"}, "ops", "web01")
	}
	unknown := answers(http.StatusNotFound)
	for name, c := range map[string]struct {
		after time.Duration // when it works
		err   error
		limit time.Duration
		tries [2]int // at least and at most
		ends  string // of the error; empty: it succeeds
	}{
		"merged after an hour": {time.Hour, unknown, 24 * time.Hour, [2]int{13, 30}, ""},
		"the server comes up":  {time.Minute, wire.ErrUnreachable, time.Hour, [2]int{2, 8}, ""},
		"never": {48 * time.Hour, unknown, 24 * time.Hour, [2]int{190, 600},
			"not registered within 24h0m0s: the server does not know the host web01"},
		"not asked to wait": {time.Hour, unknown, 0, [2]int{1, 1}, "the server does not know the host web01"},
		"not allowed yet":   {time.Hour, answers(http.StatusForbidden), 2 * time.Hour, [2]int{13, 30}, ""},
		"a wrong password": {time.Hour, answers(http.StatusUnauthorized), time.Hour, [2]int{1, 1},
			"wrong user or password"},
		"the certificate of another": {time.Hour, fmt.Errorf("%w, %w", wire.ErrCertificate, wire.ErrUnreachable),
			time.Hour, [2]int{1, 1}, "certificate not trusted, server unreachable"},
		"a taken name":          {time.Hour, answers(http.StatusConflict), time.Hour, [2]int{1, 1}, "as said"},
		"something on the host": {time.Hour, fs.ErrPermission, time.Hour, [2]int{1, 1}, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, tries, said := time.Now(), 0, 0
				err := Wait(t.Context(), c.limit, func() error {
					if tries++; time.Since(began) >= c.after {
						return nil
					}
					return c.err
				}, func(string, ...any) { said++ })
				if tries < c.tries[0] || tries > c.tries[1] {
					t.Errorf("%d tries in %s", tries, time.Since(began))
				}
				text := fmt.Sprint(err)
				switch {
				case (err == nil) != (c.ends == ""), err != nil && !strings.HasSuffix(text, c.ends):
					t.Errorf("%v, want %q", err, c.ends)
				case time.Since(began) > c.limit+mostPause:
					t.Errorf("it took %s", time.Since(began))
				case said > 1:
					t.Errorf("the same reason was said %d times", said)
				case strings.Contains(c.ends, "within") && fault.HintOf(err) == "":
					t.Error("no hint at the end")
				}
			})
		})
	}
}

func TestWaitingEndsWithCtrlC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := Wait(ctx, time.Hour, func() error { return wire.ErrUnreachable }, func(string, ...any) {})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestWhatDoesNotGoTogetherIsRefusedBeforeAnythingIsAsked(t *testing.T) {
	const server = "https://bakehouse.example"
	hex := strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		server string
		o      Options
		ok     bool
	}{
		"nothing":                        {server, Options{}, true},
		"a fingerprint":                  {server, Options{RootFingerprint: hex}, true},
		"a fingerprint as openssl has":   {server, Options{RootFingerprint: strings.Repeat("AB:", 31) + "AB"}, true},
		"a fingerprint with keys":        {server, Options{RootFingerprint: hex, Keys: []string{"k"}}, true},
		"half a fingerprint":             {server, Options{RootFingerprint: hex[:32]}, false},
		"a pinned certificate over HTTP": {"http://x", Options{TrustCert: true}, false},
		"no verification of nothing":     {"http://x", Options{Insecure: true}, false},
		"two sources of trust":           {server, Options{TrustCert: true, CA: "ca.pem"}, false},
		"pinned and not verified":        {server, Options{TrustCert: true, Insecure: true}, false},
		"two roots": {server, Options{RootFingerprint: hex, Anchor: "root.json", Keys: []string{"k"}},
			false},
		"any root and that one": {server, Options{RootFingerprint: hex, SkipSignatures: true}, false},
		"any root and a key":    {server, Options{SkipSignatures: true, Keys: []string{"k"}}, false},
		"a root without keys":   {server, Options{Anchor: "root.json"}, false},
		"keys without a root":   {server, Options{Keys: []string{"k"}}, false},
	} {
		if err := c.o.Check(c.server); (err == nil) != c.ok || err != nil && fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
