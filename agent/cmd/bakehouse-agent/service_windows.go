package main

import (
	"context"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"bakehouse/agent/detached"
)

// serviceName is the service that packages bring.
const serviceName = "bakehouse-agent"

// start runs the program, under the service manager if that has started it, which alone passes the flag: Wine does not
// tell.
func start(ctx context.Context, args []string) int {
	if !slices.Contains(args, detached.AsService) {
		consoleText()
		return run(ctx, args)
	}
	s := &service{args: args}
	// A program that starts one is not to wait for it longer than for this.
	if err := svc.Run(serviceName, s); err != nil {
		return 1
	}
	return s.code
}

// addService adds the flag by which the service manager starts a command.
func addService(c *cobra.Command) {
	c.PersistentFlags().Bool(detached.AsService[2:], false, "answer to the service manager")
	_ = c.PersistentFlags().MarkHidden(detached.AsService[2:])
}

// errorOutput is where the program says what is wrong: a service has none.
func errorOutput() io.Writer {
	if slices.Contains(os.Args[1:], detached.AsService) {
		return io.Discard
	}
	return os.Stderr
}

// service answers to the service manager while the program does its work.
type service struct {
	args []string
	code int
}

// stopHint is how long the service manager shall think of a stop as under way before it looks again.
const stopHint = 30 * time.Second

// Execute is called by the service manager. A stop ends the waiting between updates at once, and an installation comes
// to its end first.
func (s *service) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const accepts = svc.AcceptStop | svc.AcceptShutdown
	status <- svc.Status{State: svc.Running, Accepts: accepts}
	if slices.Contains(s.args, "run") {
		if err := recovers(); err != nil {
			toSystemLog()(warning, "warning: the service is not started again if it fails: "+err.Error())
		}
	}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, s.args) }()
	now := svc.Status{State: svc.Running, Accepts: accepts}
	alive := time.NewTicker(stopHint / 3)
	defer alive.Stop()
	for {
		select {
		case s.code = <-ended:
			if s.code == 0 && !slices.Contains(s.args, "run") {
				detached.Discard()
			}
			return true, uint32(s.code)
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
			case svc.Stop, svc.Shutdown:
				cancel()
				now = svc.Status{State: svc.StopPending, WaitHint: uint32(stopHint / time.Millisecond)}
			}
			status <- now
		case <-alive.C:
			if now.State == svc.StopPending {
				now.CheckPoint++
				status <- now
			}
		}
	}
}

// consoleText has the console show what the program prints, which is UTF-8.
func consoleText() { _ = windows.SetConsoleOutputCP(65001) }

// recovers has the service manager start the service again when it ends for another reason than a stop: packages cannot
// say so everywhere.
func recovers() error {
	m, err := mgr.Connect()
	if err != nil {
		return err
	}
	defer m.Disconnect()
	s, err := m.OpenService(serviceName)
	if err != nil {
		return err
	}
	defer s.Close()
	again := mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: time.Minute}
	if err := s.SetRecoveryActions([]mgr.RecoveryAction{again, again, again}, 24*60*60); err != nil {
		return err
	}
	return s.SetRecoveryActionsOnNonCrashFailures(true)
}
