package bake

import (
	"testing"

	"bakehouse/schema/needs"
)

func TestMain(m *testing.M) {
	needs.Memory()
	needs.Properties()
	m.Run()
}
