package wire

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/fault"
)

// Register asks for a host's secret as the client's user. The request's Schema is filled in. A server that is busy, as
// when many hosts are set up at once, is asked again when it says.
func (c *Client) Register(ctx context.Context, r schema.RegisterRequest) (*schema.RegisterAnswer, error) {
	var answer schema.RegisterAnswer
	r.Schema = c.speaks
	for waited := time.Duration(0); ; {
		_, err := c.post(ctx, schema.RegisterPath, r, &answer)
		if err == nil {
			break
		}
		var busy *StatusError
		if !errors.As(err, &busy) || busy.Status != http.StatusTooManyRequests || busy.after == 0 {
			return nil, err
		}
		wait := busy.after + rand.N(busy.after) // the others were told the same
		if waited += wait; waited > mostPatience {
			return nil, err
		}
		if c.conf.Waiting != nil {
			c.conf.Waiting(wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := c.understands(answer.Schema); err != nil {
		return nil, err
	}
	if answer.Secret == "" || len(answer.Secret) > 1024 || strings.ContainsAny(answer.Secret, "\r\n\x00") {
		return nil, &malformedError{fmt.Errorf("server %s: the answer has no usable secret", c.base)}
	}
	return &answer, nil
}

// Unregister tells the server that the host's secret counts no longer.
func (c *Client) Unregister(ctx context.Context) error {
	_, err := c.post(ctx, schema.UnregisterPath, struct{}{}, nil)
	return err
}

// understands checks the version of an answer: a server picks it from those that the request names.
func (c *Client) understands(version int) error {
	if v, ok := c.speaks.Common(schema.Versions{Min: version, Max: version}); ok && v == version {
		return nil
	}
	if version < 1 {
		err := fmt.Errorf("server %s answered in JSON, which is not an answer of a Bakehouse server", c.base)
		return fault.Hint(&malformedError{err}, foreignHint, c.base)
	}
	err := fmt.Errorf("server %s: the answer is in version %d of the protocol, asked for was %s",
		c.base, version, c.speaks)
	return fault.Hint(&malformedError{err}, "update the server before the hosts")
}

// Poll sends a host's report. The answer is nil if nothing is new for the host. The request's Schema is filled in.
func (c *Client) Poll(ctx context.Context, r schema.PollRequest) (*schema.PollAnswer, error) {
	var answer schema.PollAnswer
	r.Schema = c.speaks
	found, err := c.post(ctx, schema.PollPath, r, &answer)
	if err != nil || !found {
		return nil, err
	}
	if err := c.understands(answer.Schema); err != nil {
		return nil, err
	}
	if len(answer.Files) > schema.MaxPollFiles {
		return nil, &malformedError{fmt.Errorf("server %s: the answer has %d files", c.base, len(answer.Files))}
	}
	return &answer, nil
}

// Package is what a package is checked by.
type Package struct {
	Manifest   []byte // as schema.DecodeManifest takes it; its digest is not checked
	Statements [][]byte
}

// HeldManifest is one that the host has: its digest, and what its file inflates to.
type HeldManifest struct {
	Digest   schema.Digest
	Inflated []byte
}

// Package fetches a package's manifest, by its digest, and the envelopes with the signature statements. Held may save
// bytes; nil: nothing is held. If held is the manifest itself, only statements are fetched. What is made of another
// held one is checked, and fetched again whole if it is wrong.
func (c *Client) Package(ctx context.Context, manifest schema.Digest, held *HeldManifest) (*Package, error) {
	h := http.Header{"Accept-Encoding": {"gzip"}}
	if held != nil {
		h.Set(schema.HaveManifest, held.Digest.Hex())
	}
	b, err := c.get(ctx, schema.ManifestPath+manifest.Hex(), h, schema.MaxPackageAnswer)
	if err != nil {
		return nil, err
	}
	p, err := decodePackage(b, manifest, held)
	if errors.Is(err, errWrongBase) {
		return c.Package(ctx, manifest, nil)
	}
	if err != nil {
		return nil, &malformedError{fmt.Errorf("the answer for manifest %s: %w", manifest.Short(), err)}
	}
	return p, nil
}

// errWrongBase says that a difference does not make the manifest.
var errWrongBase = errors.New("not the difference to the manifest that is held")

func decodePackage(b []byte, manifest schema.Digest, held *HeldManifest) (*Package, error) {
	var a schema.PackageAnswer
	if err := schema.Decode(b, &a); err != nil {
		return nil, err
	}
	p := &Package{Manifest: a.Manifest}
	size := 0
	for _, e := range a.Statements {
		p.Statements = append(p.Statements, e)
		size += len(e)
	}
	switch {
	case len(a.Manifest) > schema.MaxManifest || size > schema.MaxStatement:
		return nil, fmt.Errorf("a manifest of %d bytes and statements of %d", len(a.Manifest), size)
	case held != nil && held.Digest == manifest:
		p.Manifest = nil
	case !a.Against.IsZero():
		if held == nil || a.Against != held.Digest {
			return nil, errors.New("a difference that was not asked for")
		}
		whole, err := delta.Inflate(a.Manifest, held.Inflated, schema.MaxManifest)
		if err != nil || schema.DigestOf(whole) != manifest {
			return nil, errWrongBase
		}
		p.Manifest, err = pack(whole)
		return p, err
	case a.Manifest == nil:
		return nil, errors.New("it has no manifest")
	}
	return p, nil
}

func pack(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// Source is the server's metadata, as agent/trust reads it. NewestRoot is the version that the poll's answer named:
// later ones are not asked for, which saves a round trip each time. A server that names too low a version could as well
// not send the root.
//
// Files came with the poll's answer. They are unpacked when they are asked for.
type Source struct {
	*Client
	NewestRoot int64
	Files      []schema.PollFile
}

// Offered returns a file that came with the poll's answer, nil if there is none that can be unpacked.
func (s Source) Offered(name string, heldVersion int64, held []byte, limit int64) []byte {
	i := slices.IndexFunc(s.Files, func(f schema.PollFile) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	var b []byte
	var err error
	switch f := s.Files[i]; {
	case f.Against != 0 && f.Against == heldVersion && held != nil:
		b, err = delta.Inflate(f.Data, held, limit)
	case f.Against != 0:
		return nil
	case f.Gzip:
		b, err = gunzip(bytes.NewReader(f.Data), limit)
	default:
		b = f.Data
	}
	if err != nil || int64(len(b)) > limit {
		return nil
	}
	return b
}

// Metadata reads a TUF file of at most limit bytes by its name.
func (s Source) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if n, ok := strings.CutSuffix(name, ".root.json"); ok {
		if v, err := strconv.ParseInt(n, 10, 64); err == nil && v > s.NewestRoot {
			return nil, fs.ErrNotExist
		}
	}
	return s.get(ctx, schema.MetadataPath+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
}

// MetadataAgainst asks for the difference to the version that is held; a server that does not have that version any
// more answers with the whole file.
func (s Source) MetadataAgainst(ctx context.Context, name string, heldVersion int64, held []byte,
	limit int64) ([]byte, error) {
	h := http.Header{delta.HaveHeader: {strconv.FormatInt(heldVersion, 10)},
		"Accept-Encoding": {"gzip, " + delta.Encoding}}
	a, err := s.do(ctx, http.MethodGet, schema.MetadataPath+name, h, nil, limit, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	b, err := a.read()
	if err != nil || a.Header.Get("Content-Encoding") != delta.Encoding {
		return b, err
	}
	return delta.Inflate(b, held, limit)
}

// Tree reads the lines of a snapshot's tree by its root, at most limit bytes.
func (s Source) Tree(ctx context.Context, root schema.Digest, limit int64) ([]byte, error) {
	return s.get(ctx, schema.TreePath+root.Hex(), http.Header{"Accept-Encoding": {"gzip"}}, limit)
}

// Target reads a top-level target of at most limit bytes by its name and digest, which is not checked.
func (s Source) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	return s.get(ctx, schema.TargetPath+d.Hex()+"."+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
}
