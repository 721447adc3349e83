//go:build !race

package bake_test

const raced = false // the race detector is not at work
