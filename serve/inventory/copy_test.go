package inventory

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/serve/inventory/sqlite"
)

// A table or column that a step adds is copied, or this fails.
func TestACopyLeavesNothingOut(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "i.db"), steps)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	made := map[string][]string{}
	err = db.Each(t.Context(), `SELECT m.name, c.name, c.type FROM sqlite_master AS m, pragma_table_info(m.name) AS c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`, nil, func(scan func(...any) error) error {
		var table, column, of string
		err := scan(&table, &column, &of)
		made[table] = append(made[table], column+" "+of)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		var copied []string
		names, types := k.names()
		for i := range names {
			copied = append(copied, strings.Trim(names[i], `"`)+" "+types[i])
		}
		slices.Sort(made[k.name])
		slices.Sort(copied)
		if !slices.Equal(made[k.name], copied) {
			t.Errorf("table %s has %v, and %v are copied", k.name, made[k.name], copied)
		}
		delete(made, k.name)
	}
	if len(made) > 0 {
		t.Errorf("not copied: %v", made)
	}
}
