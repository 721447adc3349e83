package bake_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema/needs"
)

// The licences of what the host program links are generated, from the modules' own files: docs/linked names them with
// their copyright, docs/LICENSES has the texts.
func TestTheLicencesAreThoseOfWhatTheHostProgramLinks(t *testing.T) {
	linked, texts := licences(t)
	for name, want := range map[string]string{"docs/linked": linked, "docs/LICENSES": texts} {
		if os.Getenv("BAKEHOUSE_TEST_UPDATE") != "" {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s is not what the modules say (BAKEHOUSE_TEST_UPDATE=1 writes it anew; then raise bake.Version): %v", name, err)
		}
	}
}

var copyrightLine = regexp.MustCompile(`(?m)^[ \t/*#]*(Copyright (?:\(c\)|©|[0-9]|[Tt]he ).*?)[ \t]*$`)

func licences(t *testing.T) (linked, texts string) {
	t.Helper()
	list := func(system string, args ...string) string {
		t.Helper()
		cmd := exec.Command("go", append([]string{"list"}, args...)...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOARCH=amd64", "GOOS="+system)
		return string(needs.Go(t, cmd))
	}
	dirs := map[string]string{}
	for _, system := range []string{"linux", "windows"} {
		for line := range strings.Lines(list(system, "-deps", "-tags=nethttpomithttp2", "-f", "{{with .Module}}{{if not (or .Main .Replace)}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./agent/cmd/bakehouse-agent")) {
			if path, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				dirs[path] = dir
			}
		}
	}
	goroot, err := exec.Command(needs.Tool(t, "go"), "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs["Go, its library and runtime"] = strings.TrimSpace(string(goroot))
	by := map[string][]string{} // modules by text
	var b strings.Builder
	b.WriteString("\nbakehouse-agent links, unaltered:\n\n")
	for _, path := range slices.Sorted(maps.Keys(dirs)) {
		text := ""
		for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING", "NOTICE"} {
			if f, err := os.ReadFile(filepath.Join(dirs[path], name)); err == nil {
				text += strings.TrimSpace(strings.ReplaceAll(string(f), "\r\n", "\n")) + "\n\n"
			}
		}
		if text == "" {
			t.Fatalf("module %s has no licence in %s", path, dirs[path])
		}
		by[text] = append(by[text], path)
		fmt.Fprintf(&b, "  %s (%s)\n", path, kindOf(t, path, text))
		said := map[string]bool{}
		for _, m := range copyrightLine.FindAllStringSubmatch(text, -1) {
			if !said[m[1]] && !strings.Contains(m[1], "yyyy") {
				fmt.Fprintf(&b, "    %s\n", m[1])
			}
			said[m[1]] = true
		}
	}
	b.WriteString("\nThe texts of these licences are in LICENSES.gz beside this file.\n")
	var all strings.Builder
	for _, text := range slices.SortedFunc(maps.Keys(by), func(a, b string) int { return strings.Compare(by[a][0], by[b][0]) }) {
		fmt.Fprintf(&all, "%s\n%s\n\n%s", strings.Repeat("=", 79), strings.Join(by[text], "\n"), text)
	}
	return b.String(), all.String()
}

func kindOf(t *testing.T, path, text string) string {
	t.Helper()
	for _, k := range [][2]string{{"Apache License", "Apache-2.0"}, {"Permission is hereby granted, free of charge", "MIT"},
		{"Redistribution and use in source and binary forms", "BSD-3-Clause"}} {
		if strings.Contains(text, k[0]) {
			if k[1] == "BSD-3-Clause" && !strings.Contains(strings.Join(strings.Fields(text), " "), "endorse or promote products") {
				return "BSD-2-Clause"
			}
			return k[1]
		}
	}
	t.Fatalf("module %s has a licence that nobody looked at", path)
	return ""
}
