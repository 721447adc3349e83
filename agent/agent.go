package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"bakehouse/agent/diagnose"
	"bakehouse/agent/health"
	"bakehouse/agent/install"
	"bakehouse/agent/logtail"
	"bakehouse/agent/report"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/plain"
)

const maxLog = 4 << 20

// Options say where the host's files are and who listens.
type Options struct {
	Root    string           // directory in place of /; empty: the real one
	LogFile string           // instead of StateDir/agent.log
	Version string           // of this program
	Narrate io.Writer        // one line per step of an update; nil: none
	Warn    func(string)     // is called with what is not as it should be; nil: only the log has it
	Now     func() time.Time // nil: time.Now
	Stall   time.Duration    // how long a server may send nothing in the middle of an answer; 0: 30 seconds
}

// Agent is the updater of one host.
type Agent struct {
	opts     Options
	files    state.Files
	platform schema.Platform
	log      *slog.Logger
	tail     *logtail.Tail // of what this run logs
	unsaved  error         // what kept this run's outcome out of the state
}

// New makes an updater. It touches nothing yet.
func New(o Options) (*Agent, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Root != "" {
		abs, err := filepath.Abs(o.Root)
		if err != nil {
			return nil, err
		}
		o.Root = abs
	}
	return &Agent{opts: o, files: state.Files{Root: o.Root, Now: o.Now},
		platform: schema.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}, log: slog.New(slog.DiscardHandler)}, nil
}

func (a *Agent) system() *install.System { return install.On(a.opts.Root, a.log) }

func (a *Agent) health() health.Host {
	return health.Host{Root: a.opts.Root, Log: a.log, Stopped: a.system().Stopped()}
}

// Status reads what the host knows of itself; it asks nobody and changes nothing.
func (a *Agent) Status() (*report.Status, error) { return report.Read(a.files, a.opts.Version) }

// ShowConfig reads both files and says which value counts.
func (a *Agent) ShowConfig() (*state.Listing, error) { return a.files.List() }

// Diagnose writes to w what helps somebody who cannot see this host; see package diagnose. If offline, no server is
// asked.
func (a *Agent) Diagnose(ctx context.Context, w io.Writer, offline bool) ([]string, error) {
	h := diagnose.Host{Files: a.files, Version: a.opts.Version, Log: a.LogFile(), Offline: offline}
	return h.Write(ctx, w)
}

// publish writes the summary for those who are not root. Nothing depends on it.
func (a *Agent) publish() {
	if err := report.Publish(a.files, a.opts.Version, a.unsaved); err != nil {
		a.say("%v", err)
	}
}

// begin makes the state directory, takes the lock and opens the log; end gives them back. What the run has changed is
// in the summary then, and so is that it could not begin.
func (a *Agent) begin(verb string) (end func(), err error) {
	a.unsaved = nil
	end, err = a.open(verb)
	if err != nil && !errors.Is(err, state.ErrBusy) && !errors.Is(err, fs.ErrPermission) {
		a.unsaved = err
		a.publish()
	}
	return end, err
}

func (a *Agent) open(verb string) (end func(), err error) {
	if err := a.files.Create(); err != nil {
		return nil, err
	}
	unlock, err := a.files.Lock()
	if err != nil {
		return nil, err
	}
	f, err := a.openLog()
	if err != nil {
		unlock()
		return nil, err
	}
	a.files.Sweep()
	a.tail = new(logtail.Tail)
	lines := slog.NewTextHandler(io.MultiWriter(f, a.tail), &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: bounded})
	a.log = slog.New(lines).With("pid", os.Getpid())
	a.log.Info(verb+" begins", "version", a.opts.Version)
	return func() {
		a.publish()
		a.log.Info(verb + " ends")
		a.log = slog.New(slog.DiscardHandler)
		f.Close()
		unlock()
	}, nil
}

// LogFile is where the log is.
func (a *Agent) LogFile() string { return cmp.Or(a.opts.LogFile, a.files.Stored(state.LogFile)) }

// maxSaid is the length of a text in the log, or of a step that is narrated.
const maxSaid = 4 << 10

// bounded cuts the texts of a log line; its handler quotes what does not show.
func bounded(_ []string, attr slog.Attr) slog.Attr {
	switch v := attr.Value.Any().(type) {
	case error:
		attr.Value = slog.StringValue(plain.Lines(v.Error(), maxSaid))
	case string:
		attr.Value = slog.StringValue(plain.Lines(v, maxSaid))
	}
	return attr
}

func (a *Agent) openLog() (*os.File, error) {
	name := a.LogFile()
	if a.opts.LogFile == "" {
		if fi, err := os.Stat(name); err == nil && fi.Size() > maxLog {
			if err := durable.Rename(name, name+".1"); err != nil {
				return nil, err
			}
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", state.NeedRoot(err))
	}
	return f, nil
}

// warn reports what is not as safe as it could be.
func (a *Agent) warn(format string, args ...any) {
	text := plain.Lines(fmt.Sprintf(format, args...), maxSaid)
	a.log.Warn(text)
	if a.opts.Warn != nil {
		a.opts.Warn(text)
	}
}

// say narrates one step.
func (a *Agent) say(format string, args ...any) {
	line := plain.Lines(fmt.Sprintf(format, args...), maxSaid)
	a.log.Info(line)
	if a.opts.Narrate != nil {
		fmt.Fprintln(a.opts.Narrate, line)
	}
}
