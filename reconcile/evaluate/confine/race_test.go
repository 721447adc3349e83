//go:build race

package confine

// The race detector's allocator dies with words of its own.
const tooMuch = "CUE fails on it: fatal error: too many address space collisions for -race mode"
