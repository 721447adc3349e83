package store

import "bakehouse/schema/durable"

// OpenDisk is Open of a local store with another disk under it.
func OpenDisk(dir string, disk durable.Disk) (Store, error) {
	l, err := openLocal(dir)
	if err != nil {
		return nil, err
	}
	l.disk.Around = disk.Around
	return l, nil
}
