package diagnose

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"bakehouse/agent/install/ready"
	"bakehouse/agent/report"
	"bakehouse/agent/state"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

const (
	maxTail   = 512 << 10 // of a log, in bytes
	maxOutput = 256 << 10 // of a program
	patience  = 20 * time.Second
)

// Host is whom an archive is of.
type Host struct {
	Files   state.Files
	Version string // of this program
	Log     string // its file
	Offline bool   // ask no server
}

// Write writes a tar.gz and returns the names of its files.
func (d Host) Write(ctx context.Context, w io.Writer) (names []string, err error) {
	h, err := d.Files.Load()
	if errors.Is(err, fs.ErrPermission) {
		return nil, state.NeedRoot(err)
	}
	damage := err
	if h == nil {
		h = d.Files.Fresh()
	}
	secrets := secretsOf(h, d.Files.UncheckedConfig())
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, part := range []struct {
		name string
		text func(context.Context, *state.Host) (string, error)
	}{
		{"status.json", d.status}, {"settings.txt", d.settings}, {"state.json", d.state}, {"log.txt", d.log},
		{"metadata.txt", d.metadata}, {"packages.txt", d.packages}, {"units.txt", d.units}, {"system.txt", d.system},
		{"network.txt", d.network},
	} {
		text, perr := part.text(ctx, h)
		if damage != nil && part.name == "state.json" {
			perr = damage
		}
		if perr != nil {
			text += "error: " + plain.Lines(perr.Error(), plain.MaxError) + "\n"
			if hint := fault.HintOf(perr); hint != "" {
				text += "hint: " + hint + "\n"
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := []byte(hide(text, secrets))
		head := &tar.Header{Name: "bakehouse-diagnose/" + part.name, Mode: 0o600, Size: int64(len(b)),
			ModTime: d.Files.Now().UTC().Truncate(time.Second), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(head); err != nil {
			return nil, err
		}
		if _, err := t.Write(b); err != nil {
			return nil, err
		}
		names = append(names, part.name)
	}
	return names, errors.Join(t.Close(), z.Close())
}

func (d Host) status(context.Context, *state.Host) (string, error) {
	s, err := report.Read(d.Files, d.Version)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = s.JSON(&b)
	return b.String(), err
}

func (d Host) settings(context.Context, *state.Host) (string, error) {
	s, err := d.Files.List()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = s.Print(&b)
	return b.String(), errors.Join(err, s.Err())
}

func (d Host) state(_ context.Context, h *state.Host) (string, error) {
	b, err := json.MarshalIndent(withoutSecrets(h.Record), "", "  ")
	return string(b) + "\n", err
}

// log is the end of the log, and of the one before.
func (d Host) log(context.Context, *state.Host) (string, error) {
	var text string
	for _, name := range []string{d.Log + ".1", d.Log} {
		b, err := tail(name, maxTail)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return text, err
		}
		text += b
	}
	return plain.Tail(text, maxTail), nil
}

func tail(name string, limit int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, max(0, fi.Size()-limit), limit))
	return string(b), err
}

// metadata lists what was verified, by the names of its files, which have the versions.
func (d Host) metadata(_ context.Context, h *state.Host) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "root %d, timestamp %d, snapshot %s, bin %s\n", h.Root, h.Timestamp, h.Snapshot, h.Bin)
	if len(h.Anchor) > 0 {
		fmt.Fprintf(&b, "baked anchor: sha256 %s\n", schema.DigestOf(h.Anchor).Hex())
	}
	err := list(&b, d.Files.Stored())
	return b.String(), err
}

// list lists the files below a directory, without what is in them.
func list(w io.Writer, dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		_, err = fmt.Fprintf(w, "%s %10d %s %s\n", fi.Mode(), fi.Size(), fi.ModTime().UTC().Format(time.RFC3339), path)
		return err
	})
}

// packages is what the package manager says of the package, and what is in the directories of versions.
func (d Host) packages(ctx context.Context, h *state.Host) (string, error) {
	var b strings.Builder
	name := h.PackageName()
	if h.Installed != nil {
		name = h.Installed.Name
		fmt.Fprintf(&b, "recorded: %s, format %s\n", h.Installed, h.Installed.Format)
	}
	if name != "" && d.Files.Path("/") == "/" {
		for _, program := range [][]string{{"dpkg-query", "--status", name}, {"dpkg", "--audit"},
			{"dpkg", "--verify", name},
			{"rpm", "--query", "--info", name}, {"rpm", "--verify", name}, {"pkginfo", "-l", name}} {
			run(ctx, &b, program...)
		}
	}
	dir := d.Files.Path(schema.VersionDir)
	entries, err := os.ReadDir(filepath.Join(dir, "versions"))
	if errors.Is(err, fs.ErrNotExist) {
		return b.String(), nil
	}
	current, _ := os.Readlink(filepath.Join(dir, "current"))
	fmt.Fprintf(&b, "%s: current is %s\n", dir, current)
	for _, e := range entries {
		fmt.Fprintf(&b, "  %s\n", e.Name())
	}
	return b.String(), err
}

// units is what the system says of the services, without their environment.
func (d Host) units(ctx context.Context, h *state.Host) (string, error) {
	var b strings.Builder
	units := []string{"bakehouse-agent.service"}
	if listed, err := os.ReadFile(d.Files.Path(schema.UnitsFile(runtime.GOOS))); err == nil {
		b.Write(listed)
		for line := range strings.Lines(string(listed)) {
			if f := strings.Fields(line); len(f) > 0 {
				unit := f[0]
				if !strings.Contains(unit, ".") {
					unit += ".service"
				}
				units = append(units, unit)
			}
		}
	}
	for _, line := range h.Stopped {
		fmt.Fprintf(&b, "by an administrator: %s\n", line)
	}
	if d.Files.Path("/") == "/" {
		properties := "--property=Id,LoadState,UnitFileState,ActiveState,SubState,Result,ExecMainStatus,NRestarts," +
			"StateChangeTimestamp,FragmentPath,DropInPaths"
		run(ctx, &b, append([]string{"systemctl", "show", "--no-pager", properties, "--"}, units...)...)
		run(ctx, &b, "journalctl", "--no-pager", "--lines=200", "--unit=bakehouse-agent.service")
	}
	return b.String(), nil
}

// system is what the host runs, and what its directories are on.
func (d Host) system(context.Context, *state.Host) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "bakehouse-agent %s, %s, %s/%s\nclock: %s\n", d.Version, runtime.Version(), runtime.GOOS,
		runtime.GOARCH, d.Files.Now().UTC().Format(time.RFC3339))
	for _, name := range []string{"/etc/os-release", "/proc/version"} {
		if text, err := tail(d.Files.Path(name), 4<<10); err == nil {
			b.WriteString(text)
		}
	}
	for _, dir := range []string{schema.StateDir(runtime.GOOS), filepath.Dir(schema.ConfigFile(runtime.GOOS)),
		schema.Prefix(runtime.GOOS), schema.VersionDir, filepath.Dir(schema.StatusFile(runtime.GOOS)),
		"/var/lib/dpkg", "/tmp"} {
		fmt.Fprintln(&b, ready.Describe(d.Files.Path(dir)))
	}
	for _, name := range append([]string{"NO_PROXY"}, proxyVariables...) {
		for _, name := range []string{name, strings.ToLower(name)} {
			if v := os.Getenv(name); v != "" {
				fmt.Fprintf(&b, "%s=%s\n", name, withoutPassword(schema.Proxy{URL: v}).URL)
			}
		}
	}
	return b.String(), nil
}

// network asks each server that the host knows for what it gives to everybody, without the host's secret.
func (d Host) network(ctx context.Context, h *state.Host) (string, error) {
	var b strings.Builder
	ways := h.Ways()
	if h.Worked != nil {
		fmt.Fprintf(&b, "last way that worked: %s\n", h.Worked)
		ways = append(ways, *h.Worked)
	}
	switch {
	case d.Offline:
		b.WriteString("no server was asked (--offline)\n")
		return b.String(), nil
	case len(ways) == 0:
		b.WriteString("no server is known\n")
	}
	for _, way := range ways {
		fmt.Fprintf(&b, "%s: %s\n", way, reach(ctx, way, d.Files.Now))
	}
	return b.String(), nil
}

func reach(ctx context.Context, way state.Way, now func() time.Time) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := wire.New(wire.Config{Server: way.Server, Proxy: way.Proxy, Certificates: way.Certificates, Now: now,
		Program: "bakehouse-agent/diagnose"})
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	began := time.Now()
	text, err := wire.Source{Client: c}.Metadata(ctx, "timestamp.json", schema.MaxTimestamp)
	took := time.Since(began).Round(time.Millisecond)
	var stamp struct {
		Signed struct {
			Version int64     `json:"version"`
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	switch {
	case err != nil:
		return fmt.Sprintf("failed after %s: %v; %s", took, plain.Error(err, plain.MaxError), fault.HintOf(err))
	case json.Unmarshal(text, &stamp) != nil:
		return fmt.Sprintf("answered after %s with %d bytes that are no timestamp", took, len(text))
	}
	return fmt.Sprintf("answered after %s with timestamp %d, which expires %s (not verified)", took,
		stamp.Signed.Version, stamp.Signed.Expires.UTC().Format(time.RFC3339))
}

// run writes what a program prints, if the host has it.
func run(ctx context.Context, w io.Writer, program ...string) {
	if _, err := exec.LookPath(program[0]); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := exec.CommandContext(ctx, program[0], program[1:]...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "SYSTEMD_COLORS=0"}
	c.WaitDelay = time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	said := strings.TrimRight(plain.Tail(out.String(), maxOutput), "\n")
	fmt.Fprintf(w, "$ %s\n%s\n", strings.Join(program, " "), said)
	if err != nil {
		fmt.Fprintf(w, "(%v)\n", err)
	}
}
