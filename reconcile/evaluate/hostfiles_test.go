package evaluate

import (
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

// A text that names fields of the host is each host's own.
func TestTextsNameFieldsOfTheHost(t *testing.T) {
	f := loaded(t, repo(map[string]string{"hosts/web/h.cue": "package web\nrules: host_files: [{value: {}}]\n"}))
	p := f.Plugins["host_files"]
	if p == nil || !p.ByKey("files") {
		t.Fatalf("plugin %+v", p)
	}
	host := &fleet.Host{Name: "web01", Address: "192.0.2.1", Folder: &fleet.Folder{Path: "web"},
		Labels: map[string]string{"role": "web", "data-center": "e1"}}
	text := func(h *fleet.Host, template string) (string, error) {
		t.Helper()
		in := fleet.Inputs{Platform: amd64, Host: map[string]string{}, Fleet: f.Info(amd64)}
		for _, field := range p.HostFields() {
			in.Host[field] = h.Field(field)
		}
		out, err := f.Output(t.Context(), "host_files", in,
			given(t, `files: "/etc/x": {template: "`+template+`", mode: 0o600, owner: "x"}`))
		if err != nil {
			return "", err
		}
		x := fileOf(t, out, "/etc/x")
		if x.Mode != 0o600 || x.Owner != "x" || x.Group != "" || x.Shared() {
			t.Errorf("%+v", x)
		}
		return string(x.Content), nil
	}
	for template, want := range map[string]string{
		`{{.host.name}} {{.host.address}} {{.host.folder}}`:                                     "web01 192.0.2.1 web",
		`{{.host.labels.role}} {{index .host.labels \"data-center\"}}`:                          "web e1",
		`{{if eq .host.labels.role \"web\"}}yes{{end}}{{if .host.tags.none}}no{{else}}!{{end}}`: "yes!",
		`plain $HOME %i`: "plain $HOME %i",
	} {
		if got, err := text(host, template); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", template, got, err, want)
		}
	}
	const place = "given.cue:2:27: plugin host_files: file /etc/x: "
	const lacks = "the template names what host web01 has not"
	for template, want := range map[string]string{
		`{{.host.labels.site}}`: place + lacks,
		`{{.host.nam}}`:         place + lacks,
		`{{.host.name`:          place + "template: template:1: unclosed action",
		`{{nothing}}`:           `function "nothing" not defined`,
	} {
		if got, err := text(host, template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %s", template, got, err, want)
		}
	}
	bare := &fleet.Host{Name: "db01", Folder: &fleet.Folder{}}
	if got, err := text(bare, `{{.host.name}}{{.host.address}}`); err != nil || got != "db01" {
		t.Errorf("a host without anything: %q, %v", got, err)
	}
}
