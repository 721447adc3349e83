package local_test

import (
	"path/filepath"
	"testing"

	"bakehouse/schema/durable"
	"bakehouse/schema/needs"
	"bakehouse/serve/store/local"
	"bakehouse/serve/store/storetest"
)

func TestMain(m *testing.M) {
	needs.Memory()
	storetest.Child()
	crashChild()
	m.Run()
}

func TestALocalStoreDoesAllThatAStoreMust(t *testing.T) {
	storetest.Run(t, storetest.Backend{Fresh: func(t *testing.T) string { return filepath.Join(t.TempDir(), "store") }})
}

// openDisk is Open of a local store with another disk under it.
func openDisk(dir string, disk durable.Disk) (*local.Local, error) { return local.OpenOn(dir, disk) }
