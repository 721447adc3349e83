package main

import (
	"flag"
	"testing"

	"bakehouse/schema/cli/clitest"
)

var update = flag.Bool("update", false, "write the help texts under testdata/help")

func TestHelp(t *testing.T) { clitest.Help(t, command, "testdata/help", *update) }
