// Package startup is what a server begins with: its store, or the site that it is, and the root to verify from, where
// its database is, its certificate, its log and its listener. Each mistake in them is one error with what to do.
package startup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/certificate"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// Log writes what is at least of that level, as text or json.
func Log(format, least string, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(least)); err != nil {
		return nil, fault.Hint(fmt.Errorf("--log-level %q is unknown", least), "debug, info, warn or error")
	}
	switch h := (&slog.HandlerOptions{Level: level}); format {
	case "text":
		return slog.New(slog.NewTextHandler(w, h)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, h)), nil
	}
	return nil, fault.Hint(fmt.Errorf("--log-format %q is unknown", format), "text or json")
}

// Level is the level of the log by the program's --quiet and --verbose, where --log-level is not set.
func Level(c *cobra.Command) string {
	switch {
	case c.Flag("verbose") != nil && c.Flag("verbose").Value.String() == "true":
		return "debug"
	case c.Flag("quiet") != nil && c.Flag("quiet").Value.String() == "true":
		return "warn"
	}
	return "info"
}

// Store opens the store at location, which must hold a release, and returns the root to verify it from: the one in the
// file root, or the store's own if none is named.
func Store(ctx context.Context, location, root string, log *slog.Logger) (store.Store, []byte, error) {
	if stores.Served(location) {
		return nil, nil, fault.Hint(errors.New("a server cannot have another server's store"),
			"set --store to a directory or a bucket")
	}
	st, err := stores.OpenExisting(ctx, location)
	if err != nil {
		return nil, nil, err
	}
	head, err := store.Head(ctx, st)
	if err == nil && head == 0 {
		err = fault.Hint(fmt.Errorf("store %s holds no release", location),
			"publish one with bakehouse reconcile --store %s, or name the right store", location)
	}
	if err != nil {
		return nil, nil, err
	}
	if root != "" {
		anchor, err := readRoot(root)
		return st, anchor, err
	}
	anchor, err := store.Read(ctx, st, schema.MetadataKey("root", 1), schema.MaxRoot)
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Hint(fmt.Errorf("store %s has no first root: %w", location, err),
			"name the fleet's first root with --root trust/1.root.json")
	}
	if err == nil {
		log.Warn("the store's own first root is believed; name the fleet's with --root to check the store against it",
			"sha256", schema.DigestOf(anchor).Hex())
	}
	return st, anchor, err
}

func readRoot(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		if _, err = trust.ParseRoot(b); err != nil {
			err = fmt.Errorf("--root %s: %w", file, err)
		}
	}
	return b, fault.Hint(err, "--root names the fleet's first root, trust/1.root.json in its config repo")
}

// Database is the database of a store if none is named: beside it, wherever the server is started.
func Database(store string) (string, error) {
	if stores.Remote(store) {
		return "", fault.Hint(errors.New("no database: the store is not on this machine"),
			"set --database FILE, where registrations and reports are kept")
	}
	return filepath.Clean(strings.TrimPrefix(store, "file://")) + "-inventory.db", nil
}

// Listen opens a TCP port; 0 takes a free one.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		return l, nil
	}
	err = fmt.Errorf("listen on %s: %w", address, errors.Unwrap(err))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.Hint(err, "another program listens there: end it, or give another --listen address")
	case errors.Is(err, syscall.EACCES):
		return nil, fault.Hint(err, "ports below 1024 need privileges: give another port with --listen")
	}
	return nil, fault.Hint(err, "--listen is an address of this machine and a port, such as 127.0.0.1:8443")
}

// Loopback reports whether a listen address can only be reached from this machine.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// TLS is where a server's certificate is.
type TLS struct{ Cert, Key, SelfSigned string }

// Open opens the certificate of a server that listens on an address.
func (t *TLS) Open(listen string, log *slog.Logger) (*certificate.Certificate, error) {
	switch {
	case t.SelfSigned != "" && (t.Cert != "" || t.Key != ""):
		return nil, fault.Hint(errors.New("both --tls-self-signed and a certificate are given"),
			"give one of them")
	case t.SelfSigned != "" && !Loopback(listen):
		return nil, fault.Hint(fmt.Errorf("--tls-self-signed is for loopback, and --listen is %s", listen),
			"give --tls-cert and --tls-key, or listen on 127.0.0.1")
	case t.SelfSigned != "":
		cert, ca, err := certificate.SelfSigned(t.SelfSigned, time.Now())
		if err != nil {
			return nil, err
		}
		log.Info("self-signed certificate", "ca", ca, "expires", cert.Leaf.NotAfter)
		return certificate.Fixed(cert), nil
	case t.Cert == "" || t.Key == "":
		return nil, fault.Hint(errors.New("no TLS certificate"),
			"give --tls-cert and --tls-key, or --tls-self-signed DIR to try it on this machine")
	}
	return certificate.Open(t.Cert, t.Key, log)
}
