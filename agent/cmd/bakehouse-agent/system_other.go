//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// start runs the program.
func start(ctx context.Context, args []string) int { return run(ctx, args) }

// addService adds nothing: services are started like everything else.
func addService(*cobra.Command) {}

// errorOutput is where the program says what is wrong.
func errorOutput() io.Writer { return os.Stderr }

// toSystemLog sends lines to the system's log.
func toSystemLog() func(priority int, line string) { return toSyslog(syslogSocket) }

// facility is that of daemons.
const facility = 3

// toSyslog sends lines to the system's log, a datagram each, as the library call does. Where nobody listens there is no
// such log, and stderr is all.
func toSyslog(socket string) func(int, string) {
	return func(priority int, line string) {
		c, err := net.DialTimeout("unixgram", socket, time.Second)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(time.Second))
		line = strings.TrimPrefix(line, "bakehouse-agent: ")
		fmt.Fprintf(c, "<%d>%s bakehouse-agent[%d]: %s", facility<<3|priority, time.Now().Format(time.Stamp),
			os.Getpid(), line)
	}
}

// syslogSocket is where syslog listens.
const syslogSocket = "/dev/log"
