package s3_test

import (
	"testing"

	"bakehouse/serve/store/storetest"
	"bakehouse/serve/store/storetest/s3test"
)

func TestMain(m *testing.M) {
	storetest.Child()
	m.Run()
}

func TestAnS3StoreDoesAllThatAStoreMust(t *testing.T) {
	server := s3test.Start(t)
	storetest.Run(t, storetest.Backend{Leased: true, Fresh: func(t *testing.T) string {
		return s3test.Location(server.Bucket(), server.Address)
	}})
}
