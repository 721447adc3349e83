package desired

import (
	"testing"

	"bakehouse/examples"
	"bakehouse/schema/fleet"
)

func TestQuickstartGivesAlikeHostsOneRecipe(t *testing.T) {
	fsys, err := examples.FS("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	s := State{Files: fsys}
	if err := s.Evaluate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := s.Resolved
	web01, web02, db01 := r.Hosts["web01"], r.Hosts["web02"], r.Hosts["db01"]
	if web01.Recipe != web02.Recipe || web01.Recipe == db01.Recipe || len(r.Recipes) != 2 {
		t.Errorf("recipes: web01 %s, web02 %s, db01 %s", web01.Recipe.ID, web02.Recipe.ID, db01.Recipe.ID)
	}
	if db01.Format != "tgz" || db01.Platform.String() != "linux/amd64" || db01.Site != fleet.CentralSite ||
		db01.Ring != "all" || !db01.Selected {
		t.Errorf("db01: %+v", db01)
	}
}
