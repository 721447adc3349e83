package publish

import (
	"sync"

	"bakehouse/serve/store/storetest"
)

// memStore is a store in memory, for tests that would otherwise wait for the disk hundreds of times.
type memStore = storetest.Memory

var memLock sync.Mutex // of what wraps it
