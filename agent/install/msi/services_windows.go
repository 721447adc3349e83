package msi

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"bakehouse/agent/hostpath"
	"bakehouse/schema"
)

// Host is the service of the host program.
const Host = "bakehouse-agent"

const (
	stopWait  = time.Minute      // until a service has stopped by itself; then its process is ended
	startWait = 30 * time.Second // until one runs
)

// Services are those of the installed package that run by themselves, the host program's last.
func (system) Services() (names []string, err error) {
	b, err := os.ReadFile(hostpath.On("", schema.UnitsFile(runtime.GOOS)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "enable" && f[0] != Host {
			names = append(names, f[0])
		}
	}
	slices.Sort(names)
	if there(Host) {
		names = append(names, Host)
	}
	return names, nil
}

func there(name string) bool {
	is := false
	_ = open(name, func(*mgr.Service) error { is = true; return nil })
	return is
}

// open calls do with a service; one that is not there is no error.
func open(name string, do func(*mgr.Service) error) error {
	m, err := mgr.Connect()
	if err != nil {
		return err
	}
	defer m.Disconnect()
	s, err := m.OpenService(name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

func (system) Stop(ctx context.Context, name string) error {
	return open(name, func(s *mgr.Service) error {
		st, err := s.Query()
		if err != nil || st.State == svc.Stopped {
			return err
		}
		pid := st.ProcessId
		_, err = s.Control(svc.Stop)
		if err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) &&
			!errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL) {
			return err
		}
		if err := until(ctx, s, svc.Stopped, stopWait); err == nil || pid == 0 || ctx.Err() != nil {
			return err
		}
		if h, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, pid); err == nil {
			_ = windows.TerminateProcess(h, 1)
			windows.CloseHandle(h)
		}
		return until(ctx, s, svc.Stopped, startWait)
	})
}

func (system) Start(ctx context.Context, name string) error {
	return open(name, func(s *mgr.Service) error {
		c, err := s.Config() // Wine does not say
		if err == nil && c.StartType == mgr.StartDisabled {
			return nil
		}
		if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
			return err
		}
		return until(ctx, s, svc.Running, startWait)
	})
}

// until waits for a service to be in a state.
func until(ctx context.Context, s *mgr.Service, state svc.State, long time.Duration) error {
	for began := time.Now(); ; {
		st, err := s.Query()
		if err != nil {
			return err
		}
		if st.State == state {
			return nil
		}
		if time.Since(began) > long {
			return errors.New("it takes longer than " + long.String())
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
