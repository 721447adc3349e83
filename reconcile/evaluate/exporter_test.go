package evaluate

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func exporter(t *testing.T) *Repo {
	t.Helper()
	return loaded(t, repo(map[string]string{"programs/node_exporter-linux-amd64": "binary",
		"programs/node_exporter-darwin-amd64": "binary",
		"hosts/r.cue":                         "package hosts\nrules: node_exporter: [{value: {}}]\n"}))
}

// systemdWords is what systemd makes of $ARGS: the value as it reads an environment file (env-file.c), parted as it
// parts the value of a variable that is a word (extract-word.c, without the escapes of C).
func systemdWords(t *testing.T, file string) (words []string) {
	t.Helper()
	quoted, ok := strings.CutPrefix(strings.TrimSuffix(file, "\"\n"), `ARGS="`)
	if !ok || strings.Contains(quoted, "\n") {
		t.Fatalf("the environment file is %q", file)
	}
	var value strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"':
			t.Fatalf("the value ends early: %q", quoted)
		case c == '\\' && strings.ContainsRune("\"\\`$", rune(quoted[i+1])):
			i++
			value.WriteByte(quoted[i])
		default:
			value.WriteByte(c)
		}
	}
	var word strings.Builder
	quote := byte(0)
	for text, i := value.String()+" ", 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
			word.WriteByte(text[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == ' ':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(c)
		}
	}
	return words
}

func TestNodeExporterGetsItsArgumentsUnchanged(t *testing.T) {
	want := []string{"--web.listen-address=:9100",
		"--collector.filesystem.mount-points-exclude=^/(dev|proc|run/user/.+)($|/)",
		`--collector.systemd.unit-include=^(ssh|cron)\.service$`,
		"--x=$HOME${HOME}$(id)`id`", `--y='it"s'\\`, "--z=*?[a-z]~%n%%;&#!"}
	value := "arguments: ["
	for _, a := range want[1:] {
		value += string(fleet.Quote(a)) + ","
	}
	value += "]"
	f := exporter(t)
	if ps := checked(t, f, "node_exporter", value); len(ps) > 0 {
		t.Fatal(ps)
	}
	out, err := outputOf(t, f, "node_exporter", value)
	if err != nil {
		t.Fatal(err)
	}
	file := string(fileOf(t, out, "/etc/default/node_exporter").Content)
	if got := systemdWords(t, file); !slices.Equal(got, want) {
		t.Errorf("systemd reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// launchd's sh, as reconcile/services has it read the file.
	mac := schema.Platform{OS: "darwin", Arch: "amd64"}
	out, err = f.Output(t.Context(), "node_exporter", fleet.Inputs{Platform: mac, Fleet: f.Info(mac)}, given(t, value))
	if err != nil {
		t.Fatal(err)
	}
	environment := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(environment, fileOf(t, out, "/etc/default/node_exporter").Content, 0o600); err != nil {
		t.Fatal(err)
	}
	sh := exec.CommandContext(t.Context(), "/bin/sh", "-c",
		`set -a; . "$0"; set +a; set -f; printf '%s\n' $ARGS`, environment)
	sh.Dir = "/"
	if got, err := sh.Output(); err != nil || string(got) != strings.Join(want, "\n")+"\n" {
		t.Errorf("sh reads\n%s\n%v", got, err)
	}

	for name, value := range map[string]string{"white space": `["--a=b c"]`, "a line end": `["--a\n"]`,
		"no option": `["a"]`} {
		if ps := checked(t, f, "node_exporter", "arguments: "+value); len(ps) == 0 {
			t.Errorf("%s is accepted in an argument", name)
		}
	}
}

func TestNodeExporterServesWithTLSAndPasswordsAndKeepsThemToItsGroup(t *testing.T) {
	const hash = "$2y$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
	f := exporter(t)
	value := `web: {tls_server_config: {cert_file: "/etc/ssl/certs/host.pem", key_file: "/etc/ssl/private/host.key"}
		basic_auth_users: prometheus: "` + hash + `"}, groups: ["ssl-cert"], allow: ["192.0.2.0/24"]`
	if ps := checked(t, f, "node_exporter", value); len(ps) > 0 {
		t.Fatal(ps)
	}
	out, err := outputOf(t, f, "node_exporter", value)
	if err != nil {
		t.Fatal(err)
	}
	web := fileOf(t, out, "/etc/node_exporter/web.yml")
	if web.Mode != 0o640 || web.Owner != "" || web.Group != "node_exporter" ||
		!strings.Contains(string(web.Content), "cert_file: /etc/ssl/certs/host.pem\n") ||
		!strings.Contains(string(web.Content), "prometheus: "+hash+"\n") {
		t.Errorf("%o %s:%s\n%s", web.Mode, web.Owner, web.Group, web.Content)
	}
	args := string(fileOf(t, out, "/etc/default/node_exporter").Content)
	if !strings.Contains(args, " --web.config.file=/etc/node_exporter/web.yml\"") {
		t.Error(args)
	}
	if u := out.Users[0]; !slices.Equal(u.Groups, []string{"ssl-cert"}) ||
		!slices.Equal(out.Services[0].Allow, []string{"192.0.2.0/24"}) {
		t.Errorf("%+v %+v", u, out.Services[0])
	}
	for name, c := range map[string]string{"a password that is no hash": `web: basic_auth_users: a: "secret"`,
		"a misspelt section": `web: tls_config: {}`} {
		ps := checked(t, f, "node_exporter", c)
		if len(ps) == 0 || strings.Contains(ps.Error(), `"secret"`) {
			t.Errorf("%s: %v", name, ps)
		}
	}
	if _, err := outputOf(t, f, "node_exporter", `user: "nobody", groups: ["ssl-cert"]`); err == nil {
		t.Error("groups of a user that the package does not make are lost in silence")
	}
}
