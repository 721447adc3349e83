package agent

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"bakehouse/agent/contact"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// meets registers a host that knows nothing but what o says, and returns what it was warned of.
func (h *host) meets(f *testfleet.Fleet, name string, o contact.Options, change ...func(*RegisterOptions),
) (string, error) {
	h.t.Helper()
	var warned []string
	h.opts.Warn = func(text string) { warned = append(warned, text) }
	r := RegisterOptions{Options: o, Server: f.URL, Host: name, User: testfleet.User,
		Password: func() (string, error) { return testfleet.Password, nil }}
	for _, fn := range change {
		fn(&r)
	}
	_, err := h.Register(h.t.Context(), r)
	return strings.Join(warned, "\n"), err
}

func stranger(t *testing.T, f *testfleet.Fleet) *host {
	f.Add("web01")
	return newHost(t, f)
}

func rootOf(f *testfleet.Fleet) string { return schema.DigestOf(f.Anchor).Hex() }

func TestTheProgramAndAFingerprintAreEnoughToInstallTheAgent(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := stranger(t, f)
	central(f, f.URL, f.CA)
	f.Publish()
	f.Give("web01", version(f, "one"))
	warned, err := h.meets(f, "web01", contact.Options{RootFingerprint: rootOf(f)})
	if err != nil || !strings.Contains(warned, "verified by signed metadata alone") {
		t.Fatalf("%v (%s)\n%s", err, fault.HintOf(err), warned)
	}
	h.update()
	h.runs("one")
	b := h.stateOf().Bootstrap
	if b == nil || b.Unsigned || len(b.Keys) != 1 {
		t.Fatalf("the keys that the package brought do not count: %+v", b)
	}

	// From then on signatures are asked for, even if the package, and with it its keys, are gone.
	p := version(f, "two")
	p.Signers = []trusttest.Key{}
	f.Give("web01", p)
	h.refused("No valid signature found")
	if err := os.Remove(h.files.Path(schema.ConfigFile(runtime.GOOS))); err != nil {
		t.Fatal(err)
	}
	h.refused("No valid signature found")
}

func TestAServerOfAnotherFleetIsRefusedByTheFingerprintAndGetsNoPassword(t *testing.T) {
	t.Parallel()
	f, theirs := testfleet.New(t), testfleet.New(t)
	h := stranger(t, f)
	i := intercept(t, theirs)
	ca, cert := shown(t, f, "Interceptor")
	i.show(&cert, nil)
	fingerprint := rootOf(f)
	f.URL = i.URL
	for name, o := range map[string]contact.Options{
		"whose certificate is believed": {RootFingerprint: fingerprint, CA: file(t, ca)},
		"whose certificate is not":      {RootFingerprint: fingerprint},
	} {
		if _, err := h.meets(f, "web01", o); !fault.IsRefusal(err) || !strings.Contains(err.Error(), rootOf(theirs)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := i.all(); strings.Contains(got, "Authorization") || !strings.Contains(got, "1.root.json") {
		t.Errorf("it got\n%s", got)
	}
	if s := h.stateOf(); s.Registration != nil || s.Bootstrap != nil {
		t.Errorf("something was kept: %+v", s)
	}
}

func TestTheRootOfTheServerIsTrustedOnFirstUseOnly(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := stranger(t, f)
	f.Give("web01", version(f, "one"))
	o := contact.Options{SkipSignatures: true, CA: file(t, f.CA)}
	warned, err := h.meets(f, "web01", o)
	if err != nil || !strings.Contains(warned, "SHA-256 "+rootOf(f)) {
		t.Fatalf("%v\n%s", err, warned)
	}

	// A server that would like this host to believe another root.
	theirs := testfleet.New(t)
	theirs.Add("web01")
	again := contact.Options{SkipSignatures: true, CA: file(t, theirs.CA)}
	force := func(o *RegisterOptions) { o.Force = true }
	refused := func(when string) {
		t.Helper()
		if _, err := h.meets(theirs, "web01", again, force); !fault.IsRefusal(err) ||
			!strings.Contains(err.Error(), "has a root already") {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("registered, nothing installed")
	h.update()
	h.runs("one")
	refused("with a package")
	if _, _, err := h.Unregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused("unregistered")
	for _, name := range []string{schema.ConfigFile(runtime.GOOS), schema.AnchorFile(runtime.GOOS)} {
		if err := os.Remove(h.files.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	refused("without its package")
	if err := os.Remove(h.files.Stored("state.json")); err != nil {
		t.Fatal(err)
	}
	refused("without its state")
}

func TestAPinnedCertificateIsTheOnlyOneThatIsBelieved(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := stranger(t, f)
	_, own := shown(t, f, "Corp CA")
	f.Present(own)
	warned, err := h.meets(f, "web01", contact.Options{TrustCert: true, RootFingerprint: rootOf(f)})
	if err != nil || !strings.Contains(warned, "nobody has vouched for it") ||
		!strings.Contains(warned, "fingerprint ") {
		t.Fatalf("%v (%s)\n%s", err, fault.HintOf(err), warned)
	}
	f.Give("web01", f.Pack(testfleet.Spec{Version: "one", Own: map[string]string{"/usr/bin/agent": "one"}}))
	h.update()
	_, other := shown(t, f, "Corp CA")
	f.Present(other)
	if _, err := h.Update(t.Context(), UpdateOptions{}); !errors.Is(err, wire.ErrCertificate) {
		t.Errorf("another certificate of the same authority: %v", err)
	}
}

func TestInsecureIsForOneCallAndVerifiesAllButTheCertificate(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := stranger(t, f)
	fingerprint := contact.Options{Insecure: true, RootFingerprint: rootOf(f)}
	warned, err := h.meets(f, "web01", fingerprint)
	if err != nil || !strings.Contains(warned, "--insecure: ") || !strings.Contains(warned, "gets the password") {
		t.Fatalf("%v\n%s", err, warned)
	}
	f.Give("web01", version(f, "one"))
	if _, err := h.Update(t.Context(), UpdateOptions{}); !errors.Is(err, wire.ErrCertificate) {
		t.Fatalf("an update without the flag: %v", err)
	}
	insecurely := func() (Result, error) { return h.Update(t.Context(), UpdateOptions{Insecure: true}) }
	if _, err := insecurely(); err != nil {
		t.Fatal(err)
	}
	h.runs("one")
	if w := h.stateOf().Worked; w != nil {
		t.Errorf("the way is kept: %s", w)
	}

	// The package brought the authority. A certificate of somebody else's is believed with the flag alone, and their
	// packages are not.
	_, cert := shown(t, f, "Interceptor")
	f.Present(cert)
	forged := version(f, "forged")
	forged.Signers = []trusttest.Key{}
	f.Give("web01", forged)
	if _, err := h.Update(t.Context(), UpdateOptions{}); !errors.Is(err, wire.ErrCertificate) {
		t.Fatalf("an update without the flag: %v", err)
	}
	if _, err := insecurely(); !fault.IsRefusal(err) {
		t.Errorf("a package that nobody signed: %v", err)
	}
	h.runs("one")
	f.Give("web01", version(f, "two"))
	if _, err := insecurely(); err != nil {
		t.Fatal(err)
	}
	h.runs("two")
	if !strings.Contains(h.reads("/var/lib/bakehouse/agent.log"), "gets this host's secret and report") {
		t.Error("the log does not say what was given up")
	}
}

func TestRegisteringAgainKeepsServerNameAndAuthority(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	before := h.stateOf().Registration
	again := func(o *RegisterOptions) { o.Server, o.Force = "", true }
	if _, err := h.meets(f, "", contact.Options{}, again); err != nil {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
	after := h.stateOf().Registration
	if after.Secret == before.Secret || after.Host != "web01" || after.Server != f.URL || len(after.Certificates) != 1 {
		t.Errorf("%+v", after)
	}
	_, err := h.meets(testfleet.New(t), "web01", contact.Options{}, func(o *RegisterOptions) { o.Force = true })
	if !errors.Is(err, wire.ErrCertificate) {
		t.Errorf("the authority of one server vouches for another: %v", err)
	}
}
