package maintain_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"bakehouse/reconcile/command"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/serve/store/storetest"
)

func TestMain(m *testing.M) {
	needs.Memory()
	needs.Properties()
	testscript.Main(m, map[string]func(){"bakehouse": bakehouse, "publish": storetest.PublishCommand})
}

// bakehouse is as much of the program as this package offers.
func bakehouse() {
	cmd := &cobra.Command{Use: "bakehouse", SilenceErrors: true, SilenceUsage: true}
	cmd.AddCommand(command.All("test")...)
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "bakehouse: error: %v\n", err)
		if hint := fault.HintOf(err); hint != "" {
			fmt.Fprintf(os.Stderr, "bakehouse: hint: %s\n", hint)
		}
		os.Exit(fault.ExitCode(err))
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
