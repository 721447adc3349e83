//go:build !race

package confine

// tooMuch is said of what needs more memory than there is.
const tooMuch = "evaluation takes more than 256 MB of memory"
