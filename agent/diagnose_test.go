package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/schema"
)

// diagnosed is what diagnose writes of a host, by name.
func (h *host) diagnosed(offline bool) map[string]string {
	h.t.Helper()
	var b bytes.Buffer
	names, err := h.Diagnose(h.t.Context(), &b, offline)
	if err != nil {
		h.t.Fatal(err)
	}
	z, err := gzip.NewReader(&b)
	if err != nil {
		h.t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		text, rerr := io.ReadAll(r)
		if err := errors.Join(err, rerr); err != nil {
			h.t.Fatal(err)
		}
		if head.Mode != 0o600 {
			h.t.Errorf("%s has mode %o", head.Name, head.Mode)
		}
		files[strings.TrimPrefix(head.Name, "bakehouse-diagnose/")] = string(text)
	}
	if len(files) != len(names) {
		h.t.Errorf("%d files, said were %q", len(files), names)
	}
	return files
}

func TestWhatDiagnoseWritesHasNoSecretInAnyForm(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	const proxy, inherited, password = `p@ss "word"/ü`, "inherited-secret", "the user's password"
	const token = "bhj_of-whoever-joins"
	t.Setenv("BAKEHOUSE_TOKEN", token)
	t.Setenv("ALL_PROXY", "http://me:"+inherited+"@proxy.example:3128")
	t.Setenv("BAKEHOUSE_PASSWORD", password)
	f.Give("web01", f.Pack(testfleet.Spec{Version: "one", Own: map[string]string{"/usr/bin/agent": "one",
		schema.ConfigFile(runtime.GOOS): string(f.Config(func(c *schema.AgentConfig) {
			c.Proxy = schema.Proxy{Mode: "explicit", URL: "http://me:baked-secret@127.0.0.1:1"}
		}))}}))
	h.update()
	s, err := h.files.Load()
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "http", Host: "127.0.0.1:1", User: url.UserPassword("me", proxy)}
	s.Worked = &state.Way{Server: f.URL, Proxy: schema.Proxy{Mode: "explicit", URL: u.String()}}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	secrets := []string{s.Registration.Secret, proxy, inherited, password, token, "baked-secret"}
	var forms []string
	for _, s := range secrets {
		forms = append(forms, s, url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString([]byte(s)),
			base64.StdEncoding.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte("web01:"+s)))
	}
	// A server that was told the secret, and a proxy, can have it logged.
	log, err := os.OpenFile(h.LogFile(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range forms {
		if _, err := log.WriteString("msg=" + form + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	log.Close()
	files := h.diagnosed(false)
	for name, text := range files {
		for _, form := range append(forms, u.String(), u.User.String()) {
			if strings.Contains(text, form) {
				t.Errorf("%s has %s:\n%s", name, form, text)
			}
		}
	}
	for name, want := range map[string]string{
		"status.json": `"host": "web01"`, "settings.txt": "http://hidden@127.0.0.1:1",
		"state.json": `"secret": "(hidden)"`,
		"log.txt":    "update begins", "metadata.txt": "timestamp.json", "packages.txt": "recorded: ",
		"system.txt": "bytes free", "network.txt": "failed after ", "units.txt": "",
	} {
		if text, ok := files[name]; !ok || !strings.Contains(text, want) {
			t.Errorf("%s does not say %q:\n%s", name, want, text)
		}
	}
}

func TestAHostIsDiagnosedWhateverIsBrokenAndWhileAnUpdateHangs(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	unlock, err := h.files.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if got := h.diagnosed(false)["network.txt"]; !strings.Contains(got, "answered after ") {
		t.Errorf("network: %s", got)
	}
	for _, name := range []string{state.RecordFile, state.IdentityFile} {
		if err := os.WriteFile(h.files.Stored(name), []byte("{broken"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := h.diagnosed(true)
	if got := files["state.json"]; !strings.Contains(got, "is damaged") || !strings.Contains(got, "hint: ") {
		t.Errorf("state: %s", got)
	}
	if got := files["network.txt"]; !strings.Contains(got, "--offline") {
		t.Errorf("network: %s", got)
	}
}
