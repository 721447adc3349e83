//go:build race

package needs

// Race is whether the race detector watches, under which a test takes ten times as long.
const Race = true
