package bake_test

import (
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

var windows = schema.Platform{OS: "windows", Arch: "amd64"}

// windowsExample is example for Windows.
func windowsExample(r repo, id, listen string) *rules.Recipe {
	const dir = "/Program Files/Bakehouse/plugins/windows_exporter/"
	return &rules.Recipe{ID: schema.RecipeID(id), Platform: windows, Outputs: []*fleet.Output{
		{Plugin: "windows_exporter", Files: []fleet.File{
			own("/ProgramData/windows_exporter/config.yml", 0o640, "listen: "+listen+"\n"),
			r.file(dir+"windows_exporter.exe", 0o755, noise(1, 100_000)),
			r.file(dir+"README.txt", 0o644, []byte("An exporter.\r\n")),
		}, Services: []fleet.Service{{Name: "windows_exporter", Restart: "always", Enable: true, Exec: `"` + dir +
			`windows_exporter.exe" --config.file=/ProgramData/windows_exporter/config.yml`}},
			Health: &schema.HealthCheck{Command: []string{dir + "windows_exporter.exe", "--version"}, Within: 1e9}},
		{Plugin: "updater", Files: []fleet.File{
			own(schema.ConfigFile("windows"), 0o600, settings),
			own(schema.AnchorFile("windows"), 0o644, string(anchor)),
			r.program(schema.ProgramFile("windows"), noise(2, 30_000)),
		}, Services: []fleet.Service{{Name: "bakehouse-agent", Restart: "always", Enable: true,
			Exec: `"` + schema.ProgramFile("windows") + `" run --service`}}},
	}}
}

func TestTheBytesForWindowsHaveNotChanged(t *testing.T) {
	for arch, want := range map[string]string{
		"amd64": "sha256:a68291bff5067ba88642814084c410cf51be1804dd5c9162c014b4ebe9c8966b",
		"386":   "sha256:a8ae1570ffb863e00bc58061aab296dcf42a5dac98b330543cbb4604c61ce6be",
		"arm64": "sha256:6d14129827bd5a7fcd79a826d871565f881ae29d8467d8f4b6e86a1e1be8ca60",
	} {
		src := repo{}
		r := windowsExample(src, someID, ":9100")
		r.Platform.Arch = arch
		if got := baked(t, newMemory(), src, r, schema.Msi).Manifest.SHA256.String(); got != want {
			t.Errorf("%s: %s", arch, got)
		}
	}
}
