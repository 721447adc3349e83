package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// requested notes the requests for registration, and how they are authorized.
func requested(f *testfleet.Fleet) (last func() (schema.RegisterRequest, string)) {
	var q schema.RegisterRequest
	var authorization string
	f.Bend(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == schema.RegisterPath {
			b, _ := io.ReadAll(r.Body)
			q = schema.RegisterRequest{}
			_ = json.Unmarshal(b, &q)
			authorization = r.Header.Get("Authorization")
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
		return false
	})
	return func() (schema.RegisterRequest, string) { return q, authorization }
}

func byToken(t *testing.T, f *testfleet.Fleet, text string) RegisterOptions {
	o := options(t, f, "web01")
	o.User, o.Token, o.Password = "", true, func() (string, error) { return text, nil }
	return o
}

func TestAHostRegistersByAJoinTokenAndKeepsItNowhere(t *testing.T) {
	f := testfleet.New(t)
	h := newHost(t, f)
	last := requested(f)
	_, err := h.Register(t.Context(), byToken(t, f, "bhj_another"))
	if err == nil || !strings.Contains(err.Error(), "join token: ") || fault.HintOf(err) == "" {
		t.Errorf("a wrong token: %v, hint %q", err, fault.HintOf(err))
	}
	if _, err := h.Register(t.Context(), byToken(t, f, testfleet.Token)); err != nil {
		t.Fatal(err)
	}
	if q, authorization := last(); authorization != "Bearer "+testfleet.Token || q.Secret != "" || q.Replace {
		t.Errorf("%q, %+v", authorization, q)
	}
	err = filepath.WalkDir(h.files.Stored(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if bytes.Contains(b, []byte(testfleet.Token)) {
			t.Errorf("%s has the token", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if h.stateOf().Registration.Secret == "" {
		t.Error("there is no secret")
	}
}

func TestRegisteringAgainShowsTheOldSecretToTheServerThatKnowsItAlone(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	first := h.stateOf().Registration.Secret
	last := requested(f)
	o := options(t, f, "web01")
	o.Force = true
	if _, err := h.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if q, _ := last(); q.Secret != first || !q.Replace {
		t.Errorf("%+v, want the secret %q", q, first)
	}
	// Another host's name, or another server: nobody there needs it.
	o.Host = "web02"
	_, _ = h.Register(t.Context(), o)
	if q, _ := last(); q.Host != "web02" || q.Secret != "" {
		t.Errorf("as another host: %+v", q)
	}
	other := testfleet.New(t)
	last = requested(other)
	o = options(t, other, "web01")
	o.Force = true
	_, _ = h.Register(t.Context(), o)
	if q, _ := last(); q.Host != "web01" || q.Secret != "" {
		t.Errorf("at another server: %+v", q)
	}
}

func TestUnregisterTellsTheServerAndSaysWhenItCouldNot(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Requests()
	if _, untold, err := h.Unregister(t.Context()); err != nil || untold != nil {
		t.Fatal(untold, err)
	}
	if got := f.Requests(); !slices.Equal(got, []string{"POST " + schema.UnregisterPath}) {
		t.Errorf("requests %q", got)
	}
	h = registered(t, f, "web01")
	f.Close()
	_, untold, err := h.Unregister(t.Context())
	if err != nil || untold == nil {
		t.Fatal(untold, err)
	}
	if h.stateOf().Registration != nil {
		t.Error("it is registered still")
	}
}
