package agent

import (
	"context"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"bakehouse/agent/trust"
	"bakehouse/schema"
)

// source is the server as agent/trust reads it. newestRoot is the root that the poll's answer named: later ones are not
// asked for, which saves a round trip each time. A server that names too low a version could as well not send the root.
type source struct {
	*client
	newestRoot int64
}

var _ trust.DeltaSource = source{}

func (s source) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if n, ok := strings.CutSuffix(name, ".root.json"); ok {
		if v, err := strconv.ParseInt(n, 10, 64); err == nil && v > s.newestRoot {
			return nil, fs.ErrNotExist
		}
	}
	return s.get(ctx, schema.MetadataPath+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
}

// MetadataAgainst asks for the difference to the version that is held; a server that does not have that version any
// more answers with the whole file.
func (s source) MetadataAgainst(ctx context.Context, name string, heldVersion int64, held []byte, limit int64) ([]byte, error) {
	h := http.Header{schema.HaveHeader: {strconv.FormatInt(heldVersion, 10)}, "Accept-Encoding": {"gzip, " + schema.DictionaryEncoding}}
	a, err := s.do(ctx, http.MethodGet, schema.MetadataPath+name, h, nil, limit, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	b, err := a.read()
	if err != nil || a.Header.Get("Content-Encoding") != schema.DictionaryEncoding {
		return b, err
	}
	return schema.InflateAgainst(b, held, limit)
}

func (s source) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	return s.get(ctx, schema.TargetPath+d.Hex()+"."+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
}
