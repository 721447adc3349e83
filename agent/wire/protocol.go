package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/delta"
)

// Register asks for a host's secret as the client's user. The request's Schema is filled in.
func (c *Client) Register(ctx context.Context, r schema.RegisterRequest) (*schema.RegisterAnswer, error) {
	var answer schema.RegisterAnswer
	r.Schema = c.speaks
	if _, err := c.post(ctx, schema.RegisterPath, r, &answer); err != nil {
		return nil, err
	}
	if err := c.understands(answer.Schema); err != nil {
		return nil, err
	}
	if answer.Secret == "" || len(answer.Secret) > 1024 || strings.ContainsAny(answer.Secret, "\r\n\x00") {
		return nil, &malformedError{fmt.Errorf("server %s: the answer has no usable secret", c.base)}
	}
	return &answer, nil
}

// understands checks the version of an answer: a server picks it from those that the request names.
func (c *Client) understands(version int) error {
	if v, ok := c.speaks.Common(schema.Versions{Min: version, Max: version}); ok && v == version {
		return nil
	}
	return &malformedError{fmt.Errorf("server %s: the answer is in version %d of the protocol, asked for was %s",
		c.base, version, c.speaks)}
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
	return &answer, nil
}

// Manifest fetches a manifest as schema.DecodeManifest takes it. Its digest is not checked.
func (c *Client) Manifest(ctx context.Context, d schema.Digest) ([]byte, error) {
	return c.get(ctx, schema.ManifestPath+d.Hex(), nil, schema.MaxManifest)
}

// Statements fetches the envelopes with the signature statements on a package.
func (c *Client) Statements(ctx context.Context, pkg schema.Digest) (envelopes [][]byte, err error) {
	b, err := c.get(ctx, schema.StatementPath+pkg.Hex(), nil, schema.MaxStatement)
	if err != nil {
		return nil, err
	}
	if envelopes, err = splitStatements(b); err != nil {
		return nil, &malformedError{fmt.Errorf("statements on package %s: %w", pkg.Short(), err)}
	}
	return envelopes, nil
}

// splitStatements splits a server's list of envelopes; nothing is an empty one.
func splitStatements(b []byte) ([][]byte, error) {
	var raw []json.RawMessage
	if len(b) > 0 {
		if err := schema.Decode(b, &raw); err != nil {
			return nil, err
		}
	}
	envelopes := make([][]byte, len(raw))
	for i, r := range raw {
		envelopes[i] = r
	}
	return envelopes, nil
}

// Source is the server's metadata, as agent/trust reads it. NewestRoot is the version that the poll's answer named:
// later ones are not asked for, which saves a round trip each time. A server that names too low a version could as well
// not send the root.
type Source struct {
	*Client
	NewestRoot int64
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
