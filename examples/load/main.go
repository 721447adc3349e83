// Load measures a server under the hosts of a large fleet, beside nginx:
//
//	go run ./examples/load                       100,000 hosts; nginx must be installed
//	go run ./examples/load -hosts 1000 -for 2s   less of all
//
// The fleet is signed here and baked by nobody: each host has one of a few packages, which share a large segment. Every
// host is registered, with a secret of its own, a thousand of them over HTTPS and the others by `bakehouse inventory
// import`; each polls over TLS with a report. nginx answers a constant to the same requests, with the same certificate,
// the same key exchange and the same client, in turn with the server: what else the machine does hits both.
//
// Each line says what was measured, what nginx did, and the budget. The ratios by processor time are those to go by
// where others use the machine as well: what one process used for one answer, however long it waited. The load of the
// machine is printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options say how much is measured.
type options struct {
	hosts, bins int
	each        time.Duration // of each measurement
	clients     int           // connections at a time
	segment     int           // bytes
	settle      time.Duration // until what servers keep in mind is written: they do so each minute
	program     string        // bakehouse; empty: it is built
}

func main() {
	var o options
	flag.IntVar(&o.hosts, "hosts", 100_000, "number of hosts")
	flag.IntVar(&o.bins, "bins", 1024, "number of bins, a power of two")
	flag.DurationVar(&o.each, "for", 10*time.Second, "how long each measurement takes")
	flag.IntVar(&o.clients, "clients", 32, "connections at a time")
	flag.IntVar(&o.segment, "segment", 8<<20, "bytes of the large segment")
	flag.DurationVar(&o.settle, "settle", 65*time.Second, "how long to wait until the server has written all")
	flag.StringVar(&o.program, "program", "", "the bakehouse program to measure (default: built from this module)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, err := measure(ctx, o, os.Stderr)
	if err == nil {
		_, err = fmt.Print(t)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
