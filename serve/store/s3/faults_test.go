package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/s3"
	"bakehouse/serve/store/storetest"
	"bakehouse/serve/store/storetest/s3test"
)

func open(t *testing.T, location string) *s3.Store {
	t.Helper()
	s, err := s3.Open(location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cutting is a proxy that loses each third answer: the server has done what was asked, and nobody hears of it.
func cutting(t *testing.T, to string) (address string, lost *atomic.Int64) {
	t.Helper()
	lost = &atomic.Int64{}
	var n atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	proxy.ModifyResponse = func(x *http.Response) error {
		if n.Add(1)%3 != 0 {
			return nil
		}
		lost.Add(1)
		_, _ = io.Copy(io.Discard, x.Body)
		return errors.New("cut")
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), lost
}

func TestOf32WhoContendOneWinsAndKnowsIt(t *testing.T) {
	server := s3test.Start(t)
	address, lost := cutting(t, server.Address)
	bucket := server.Bucket()
	for _, at := range []string{server.Address, address} {
		const keys, racers = 6, 32
		var stores []*s3.Store
		for range racers {
			stores = append(stores, open(t, s3test.Location(bucket, at)))
		}
		for k := range keys {
			key := fmt.Sprintf("timestamps/%s/%d", strings.ReplaceAll(strings.ReplaceAll(at, ".", ""), ":", ""), k)
			winners := make(chan int, racers)
			var group sync.WaitGroup
			for i, s := range stores {
				group.Go(func() {
					// Equal bytes: whose they are is not in them.
					switch err := store.CreateBytes(t.Context(), s, key, []byte("the same of all")); {
					case err == nil:
						winners <- i
					case !errors.Is(err, fs.ErrExist):
						t.Log(err) // three answers in a row were lost; it may be run again
					}
				})
			}
			group.Wait()
			if len(winners) != 1 {
				t.Errorf("at %s %s has %d winners", at, key, len(winners))
			}
		}
	}
	if lost.Load() < 10 {
		t.Errorf("%d answers were lost", lost.Load())
	}
}

func TestABodyThatIsCutGoesOn(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket()
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MB: by way of a file
	direct := open(t, s3test.Location(bucket, server.Address))
	if err := store.CreateBytes(t.Context(), direct, "segments/aa/x", want); err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.Address})
	var n atomic.Int64
	proxy.ModifyResponse = func(x *http.Response) error {
		if n.Add(1) <= 2 {
			x.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(x.Body, 300_000), cut{}), x.Body}
		}
		return nil
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	s := open(t, s3test.Location(bucket, strings.TrimPrefix(front.URL, "http://")))
	if got, err := store.Read(t.Context(), s, "segments/aa/x", 1<<30); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, or others: %v", len(got), len(want), err)
	}
	if n.Load() != 3 {
		t.Errorf("%d requests", n.Load())
	}
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestAFlippedBitInTheBucketIsFoundByFsck(t *testing.T) {
	server := s3test.Start(t)
	bucket := server.Bucket()
	s := open(t, s3test.Location(bucket, server.Address))
	if err := storetest.Publish(t.Context(), s, 1); err != nil {
		t.Fatal(err)
	}
	key := storetest.Release(1)[0].Key
	file := server.File(bucket, "fleet/"+key)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // keeps its attributes
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	var found []string
	sum, err := maintain.Fsck(t.Context(), s, true, func(f maintain.Finding) { found = append(found, f.Key) })
	if err != nil || sum.Errors == 0 || found[0] != key {
		t.Errorf("%+v %q %v", sum, found, err)
	}
}

func TestABitThatIsFlippedOnTheWayIsRefusedByTheServer(t *testing.T) {
	server := s3test.Start(t)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.Address})
	var flipped atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil && bytes.Contains(b, []byte("content")) {
			flipped.Add(1)
			b[2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(b))
		} else {
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s := open(t, s3test.Location(server.Bucket(), strings.TrimPrefix(front.URL, "http://")))
	err := store.CreateBytes(t.Context(), s, "segments/aa/x", []byte("the content"))
	if err == nil || flipped.Load() == 0 {
		t.Errorf("%v, flipped %d times", err, flipped.Load())
	}
	if _, err := s.Stat(t.Context(), "segments/aa/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A server takes connections and says nothing; or it begins an answer and stops.
func TestAServerThatHangsIsGivenUp(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	begun := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "begins") {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			_, _ = w.Write(make([]byte, 10))
			w.(http.Flusher).Flush()
		}
		select {
		case <-begun:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(begun) })
	s, err := s3.OpenWithin(s3test.Location("bucket", strings.TrimPrefix(server.URL, "http://")),
		s3.Limits{Header: 20 * time.Millisecond, Stall: 20 * time.Millisecond, Call: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Open":  func() error { _, err := s.Open(t.Context(), "segments/aa/silent"); return err },
		"Read":  func() error { _, err := store.Read(t.Context(), s, "segments/aa/begins", 1<<20); return err },
		"Stat":  func() error { _, err := s.Stat(t.Context(), "segments/aa/silent"); return err },
		"Head":  func() error { _, err := store.Head(t.Context(), s); return err },
		"Now":   func() error { _, err := s.Now(t.Context()); return err },
		"Batch": func() error { return s.DeleteBatch(t.Context(), []string{"segments/aa/x"}) },
		"Create": func() error {
			return store.CreateBytes(t.Context(), s, "segments/aa/x", []byte("x"))
		},
		"Lock": func() error { _, err := s.Lock(t.Context(), "test"); return err },
	} {
		if err := call(); err == nil || errors.Is(err, fs.ErrNotExist) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

// What was acknowledged is there whole, and what is there is whole.
func TestAServerThatIsKilledLosesNothingThatItAcknowledged(t *testing.T) {
	server := s3test.Start(t)
	location := s3test.Location(server.Bucket(), server.Address)
	object := func(writer, n int) (string, []byte) {
		b := bytes.Repeat([]byte{byte(writer), byte(n)}, 1<<uint(5+n%14))
		return schema.SegmentKey(schema.DigestOf(b)), b
	}
	var acknowledged sync.Map
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var written atomic.Int64
	for w := range 4 {
		s := open(t, location)
		group.Go(func() {
			for n := 0; ctx.Err() == nil && n < 250; n++ {
				key, b := object(w, n)
				if err := store.CreateBytes(ctx, s, key, b); err == nil {
					acknowledged.Store(key, b)
					written.Add(1)
				}
			}
		})
	}
	for kill := range int64(3) {
		for written.Load() < 40*(kill+1) {
			time.Sleep(time.Millisecond) // until it has something to lose
		}
		server.Kill()
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	group.Wait()
	s := open(t, location)
	n := 0
	acknowledged.Range(func(key, want any) bool {
		n++
		got, err := store.Read(t.Context(), s, key.(string), 1<<30)
		if err != nil || !bytes.Equal(got, want.([]byte)) {
			t.Errorf("%s: %d bytes of %d, %v", key, len(got), len(want.([]byte)), err)
		}
		return true
	})
	for e, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := store.Read(t.Context(), s, e.Key, 1<<30)
		if err != nil || schema.SegmentKey(schema.DigestOf(b)) != e.Key {
			t.Errorf("%s is not whole: %v", e.Key, err)
		}
	}
	t.Logf("%d acknowledged", n)
}

func TestAServerWithoutConditionalWritesIsRefused(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
	}))
	t.Cleanup(server.Close)
	s := open(t, s3test.Location("bucket", strings.TrimPrefix(server.URL, "http://")))
	err := store.CreateBytes(t.Context(), s, "segments/aa/x", []byte("x"))
	if err == nil || !strings.Contains(err.Error(), "no conditional writes") || fault.HintOf(err) == "" {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func TestALocationThatIsWrongIsOneErrorWithAHintAndWithoutSecrets(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"ACCESS_KEY_ID", "REGION", "DEFAULT_REGION", "SHARED_CREDENTIALS_FILE"} {
		t.Setenv("AWS_"+name, "")
	}
	for location, want := range map[string]string{
		"s3://":                                     "no bucket",
		"s3://key:hush@bucket/x":                    "it holds credentials",
		"s3://bucket/x?secret=hush":                 `unknown parameter "secret"`,
		"s3://bucket/x?endpoint=ftp://host":         "neither https:// nor http://",
		"s3://bucket/x?endpoint=https://u:hush@h":   "not a URL of a host alone",
		"s3://bucket/x?endpoint=https://h/path":     "not a URL of a host alone",
		"s3://bucket/x?endpoint=http://example.com": "would carry packages readably",
		"s3://bucket/x":                             "region is not known",
		"s3://bucket/x?region=eu-central-1":         "no credentials for bucket bucket",
		"s3://bucket/x?region=r&credentials=/nope":  "no credentials for bucket bucket",
		"s3://bucket/../x":                          "invalid prefix",
		"s3://%zz":                                  "not a URL",
	} {
		_, err := s3.Open(location)
		if err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", location, err, fault.HintOf(err))
		}
		if err != nil && strings.Contains(err.Error()+fault.HintOf(err), "hush") {
			t.Errorf("a secret is repeated: %v, hint %s", err, fault.HintOf(err))
		}
	}
}

// The machine's metadata service is somebody else on many networks.
func TestNobodyIsAskedForCredentialsUnlessToldTo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	text := "[default]\naws_access_key_id = from-file\naws_secret_access_key = y\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	var signed atomic.Value
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			signed.Store(r.Header.Get("Authorization"))
			http.NotFound(w, r)
		}))
	}()
	t.Cleanup(func() { l.Close() })
	t.Setenv("HTTP_PROXY", "http://"+l.Addr().String()) // whoever asks 169.254.169.254 asks here
	s := open(t, s3test.Location("bucket", l.Addr().String())+"&credentials="+url.QueryEscape(file))
	if _, err := s.Stat(t.Context(), "segments/aa/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if by, _ := signed.Load().(string); asked.Load() != 1 || !strings.Contains(by, "Credential=from-file/") {
		t.Errorf("%d requests, signed %q", asked.Load(), by)
	}
}
