//go:build !linux

package confine

// limitMemory does nothing: macOS enforces none of its limits of memory. Allocations that the address space has no room
// for fail there too, and the engine watches the heap.
func limitMemory(uint64) error { return nil }
