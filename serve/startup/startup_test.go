package startup

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestTheLogIsAsLoudAsTheProgram(t *testing.T) {
	for args, want := range map[string]string{"serve": "info", "serve --verbose": "debug", "serve --quiet": "warn"} {
		root := &cobra.Command{Use: "bakehouse"}
		root.PersistentFlags().Bool("verbose", false, "")
		root.PersistentFlags().Bool("quiet", false, "")
		c := &cobra.Command{Use: "serve", Run: func(c *cobra.Command, _ []string) {
			if got := Level(c); got != want {
				t.Errorf("%s: %s, want %s", args, got, want)
			}
		}}
		root.AddCommand(c)
		root.SetArgs(strings.Fields(args))
		if err := root.Execute(); err != nil {
			t.Error(err)
		}
	}
}

func TestLoopbackIsTold(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:0": true, "[::1]:8443": true, "localhost:1": true,
		"127.9.9.9:1": true,
		":8443":       false, "0.0.0.0:1": false, "192.0.2.1:1": false, "bakehouse.example:1": false,
		"127.0.0.1": false} {
		if got := Loopback(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
