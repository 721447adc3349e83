package serve

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/ask"
	"bakehouse/serve/desk"
)

// commands runs a command of package ask against w as a user.
func (w *site) commands(user string, args ...string) (stdout string, err error) {
	w.t.Helper()
	dir := w.t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	check(w.t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: w.http.Certificate().Raw}), 0o600))
	secret := filepath.Join(dir, "password")
	check(w.t, os.WriteFile(secret, []byte(password+"\n"), 0o600))
	root := &cobra.Command{Use: "bakehouse", SilenceErrors: true, SilenceUsage: true}
	host := &cobra.Command{Use: "host"}
	host.AddCommand(ask.HostVerbs()...)
	root.AddCommand(ask.Token(), ask.Audit(), ask.Doctor(), ask.Release(), ask.Rollout(), ask.Site(), host)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(append(args, "--server", w.http.URL, "--user", user, "--ca", ca, "--password-file", secret))
	err = root.ExecuteContext(w.t.Context())
	return out.String(), err
}

func TestAUserDoesWithAServerWhatHisPermissionsAllow(t *testing.T) {
	f, _ := standardFleet(t)
	f.access.Users["auditor"] = schema.User{Hash: f.access.Users["idle"].Hash,
		Permissions: map[string][]string{schema.PermAudit: {"~.*"}}}
	f.publish()
	w := start(t, f)
	does := func(user string, args ...string) string {
		t.Helper()
		out, err := w.commands(user, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	refused := func(want, hint, user string, args ...string) {
		t.Helper()
		out, err := w.commands(user, args...)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), hint) ||
			out != "" {
			t.Errorf("%v: %q, %v, hint %q; want %q", args, out, err, fault.HintOf(err), want)
		}
	}
	secret := strings.TrimSpace(does("installer", "token", "create", "--uses", "3", "--hosts", "web01"))
	wantStatus(t, w.join(secret, registration("web01")), http.StatusOK, "")
	var list desk.Tokens
	check(t, json.Unmarshal([]byte(does("installer", "token", "list", "--json")), &list))
	if len(list.Tokens) != 1 || list.Tokens[0].Used != 1 || *list.Tokens[0].Covers != 1 {
		t.Errorf("%+v", list)
	}
	id := list.Tokens[0].ID
	refused("the fleet acme has no site", "sites are in fleet.cue", "installer", "token", "create", "--site", "nort")
	refused("user idle has no permission token", "bakehouse access add --permission token", "idle", "token", "create")
	refused("no join token aaaaaaaaaa", "bakehouse token list", "installer", "token", "revoke", "aaaaaaaaaa")
	refused("wrong user or password", "reconcile has published", "nobody", "token", "list")
	if out := does("installer", "token", "revoke", id); out != "token "+id+": revoked\n" {
		t.Errorf("%q", out)
	}
	wantStatus(t, w.join(secret, registration("web01")), http.StatusForbidden, "was revoked by installer")
	does("installer", "host", "revoke", "web01")
	refused("ended already: revoked by installer", "host forget web01", "installer", "host", "revoke", "web01")
	refused("user webteam has no permission revoke for host db01", "access add", "webteam", "host", "forget", "db01")
	does("webteam", "host", "forget", "web01")
	refused("user idle has no permission audit", "access add", "idle", "audit")
	out := does("auditor", "audit")
	for _, line := range []string{"token-created  installer", "registered     token " + id, "revoked        installer",
		"forgotten      webteam", "failed         unknown user"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
}

func TestDoctorPrintsWhatThePageDoes(t *testing.T) {
	f, _ := standardFleet(t)
	f.access.Users["viewer"] = schema.User{Hash: f.access.Users["idle"].Hash,
		Permissions: map[string][]string{schema.PermView: {"web01", "web02"}}}
	f.publish()
	w := start(t, f)
	w.register("web01")
	w.register("web03")
	out, err := w.commands("viewer", "doctor")
	if err == nil || !strings.Contains(err.Error(), "missing") || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	// Hosts that the user does not see do not count.
	for _, want := range []string{"missing  All hosts are registered: 1 of 2\n",
		"         # bakehouse-agent register\n", "ok       The store verifies: ", "ok       The database answers: ",
		"The signed metadata are valid: the timestamp ends on"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	_, err = w.commands("idle", "doctor")
	if err == nil || !strings.Contains(err.Error(), "lacks the permission view") {
		t.Errorf("without the permission: %v", err)
	}
	out, _ = w.commands("viewer", "doctor", "--json")
	var list ask.Findings
	if check(t, json.Unmarshal([]byte(out), &list)); len(list.Findings) < 10 {
		t.Errorf("%s", out)
	}
}

func TestAUserIsToldWhereTheHostsOfHisPermissionStand(t *testing.T) {
	f, packs := standardFleet(t)
	f.access.Users["webteam"].Permissions[schema.PermView] = []string{"web01"}
	f.publish()
	w := start(t, f)
	w.reporting(w.register("web01"), schema.Report{State: schema.StateCurrent, Code: schema.CodeCurrent,
		Target: packs["web01"].digest, Installed: packs["web01"].digest, Release: 1})
	for user, hosts := range map[string]int{"mia": len(packs), "webteam": 1} {
		out, err := w.commands(user, "host", "list")
		if err != nil || strings.Count(out, "\n") != hosts+1 || !strings.Contains(out, "web01  up-to-date") {
			t.Errorf("%s: %v\n%s", user, err, out)
		}
	}
	if out, err := w.commands("mia", "host", "show", "web01"); err != nil || !strings.Contains(out,
		"Up to date, since") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := w.commands("mia", "release", "list"); err != nil || !strings.Contains(out, "for servers only") {
		t.Errorf("%v\n%s", err, out)
	}
	_, err := w.commands("webteam", "host", "show", "web02")
	if err == nil || err.Error() != "neither git nor a registration has a host web02" {
		t.Error(err)
	}
	if _, err := w.commands("idle", "host", "list"); err == nil || !strings.Contains(err.Error(), "permission view") {
		t.Error(err)
	}
}
