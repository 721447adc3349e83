package main

import (
	"os"
	"testing"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/rules"
)

func TestAMadeFleetIsWhatTheTableSaysOfIt(t *testing.T) {
	dir := t.TempDir()
	const hosts = 4000
	if err := write(dir, hosts); err != nil {
		t.Fatal(err)
	}
	f, err := evaluate.Load(t.Context(), os.DirFS(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := rules.Resolve(t.Context(), f.Fleet, f)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Warnings)+len(res.Warnings) > 0 {
		t.Errorf("warnings: %v %v", f.Warnings, res.Warnings)
	}
	n := 0
	for _, folder := range f.Folders {
		for _, list := range folder.Rules {
			n += len(list)
		}
	}
	if len(f.Hosts) != hosts || len(f.Plugins) != 30 || n != 200 || len(res.Recipes) != 2000 {
		t.Errorf("%d hosts, %d plugins, %d rules, %d recipes; want %d, 30, 200, 2000", len(f.Hosts), len(f.Plugins), n, len(res.Recipes), hosts)
	}
}

func TestFoldersHoldEveryHostOnce(t *testing.T) {
	for _, hosts := range []int{1, 19, 20, 1000, 100_000} {
		next := 0
		for _, f := range folders(hosts) {
			if f.from != next || f.to < f.from || f.to-f.from > 5000 {
				t.Errorf("of %d hosts, folder %s has %d to %d after %d", hosts, f.path, f.from, f.to, next)
			}
			next = f.to
		}
		if next != hosts {
			t.Errorf("of %d hosts, %d stand in folders", hosts, next)
		}
	}
}
