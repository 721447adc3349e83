package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"

	"github.com/rogpeppe/go-internal/testscript"

	"bakehouse/schema/needs"
)

func TestMain(m *testing.M) {
	needs.Memory()
	testscript.Main(m, map[string]func(){
		"bakehouse-agent": main,
	})
}

// fleetKey is under what a script's fleet is kept.
type fleetKey struct{}

// Scripts have a fleet of their own at $SERVER that knows web01, the files ca.pem, root.json, release.pem and password,
// and the commands below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("BAKEHOUSE_TEST_UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			f := testfleet.NewAt(e.T().(testing.TB), time.Now())
			f.Add("web01")
			e.Values[fleetKey{}] = f
			e.Setenv("SERVER", f.URL)
			for name, b := range map[string][]byte{"ca.pem": f.CA, "root.json": f.Anchor,
				"release.pem": []byte(f.Package.PEM()),
				"password":    []byte(testfleet.Password + "\n")} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"give":     give,
			"alter":    alter,
			"server":   server,
			"exitcode": exitCode,
			"nobody":   nobody,
			"sha256":   digest,
		},
	})
}

func fleet(ts *testscript.TestScript) *testfleet.Fleet {
	return ts.Value(fleetKey{}).(*testfleet.Fleet)
}

// give HOST TEXT [sick|unsigned]: publishes a package whose program prints TEXT and whose health check is that program.
func give(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: give HOST TEXT [sick|unsigned]")
	}
	exit, within := "0", time.Minute
	if slices.Contains(args[2:], "sick") {
		exit, within = "1", 50*time.Millisecond
	}
	f := fleet(ts)
	p := f.Pack(testfleet.Spec{Version: args[1], Config: true, Shared: map[string]string{"/usr/lib/acme/data": "data of " + args[1]},
		Own: map[string]string{"/usr/bin/agent": "#!/bin/sh\necho " + args[1] + "\nexit " + exit + "\n"},
		Health: []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
			Within: schema.Duration(within)}}})
	if slices.Contains(args[2:], "unsigned") {
		p.Signers = []trusttest.Key{}
	}
	f.Give(args[0], p)
	if slices.Contains(args[2:], "altered") {
		f.Segment(p.Manifest.Segments()[0].Digest, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}
}

// alter statements: there are none any more in the server's store.
func alter(ts *testscript.TestScript, neg bool, args []string) {
	fleet(ts).DropStatements()
}

// sha256 NAME FILE: sets a variable to the digest of a file.
func digest(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], schema.DigestOf([]byte(ts.ReadFile(args[1]))).Hex())
}

// server stop: the server goes away.
func server(ts *testscript.TestScript, neg bool, args []string) { fleet(ts).Close() }

// exitcode N COMMAND...: runs a command that must end with N.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var ended interface{ ExitCode() int }
	if err != nil {
		if e, ok := err.(interface{ ExitCode() int }); ok {
			ended = e
		} else {
			ts.Fatalf("%v", err)
		}
		code = string(rune('0' + ended.ExitCode()))
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// nobody N COMMAND...: runs a command, which must end with N, as a user who may not read what is root's alone.
func nobody(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: nobody N COMMAND...")
	}
	program, err := exec.LookPath(args[1])
	ts.Check(err)
	c := exec.Command(program, args[2:]...)
	c.Dir, c.Stdout, c.Stderr = ts.MkAbs("."), ts.Stdout(), ts.Stderr()
	if os.Geteuid() == 0 {
		for _, name := range []string{program, ts.MkAbs("host/run")} {
			for dir := filepath.Dir(name); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
				ts.Check(os.Chmod(dir, 0o755))
			}
		}
		asNobody(c)
	} else {
		state := ts.MkAbs("host" + schema.StateDir(runtime.GOOS))
		ts.Check(os.Chmod(state, 0))
		defer func() { ts.Check(os.Chmod(state, 0o700)) }()
	}
	err = c.Run()
	if c.ProcessState == nil {
		ts.Fatalf("%v", err)
	}
	if code := fmt.Sprint(c.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}
