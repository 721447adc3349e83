package agent

import (
	"context"
	"net/http"
	"strconv"

	"bakehouse/agent/trust"
	"bakehouse/schema"
)

// source is the server as agent/trust reads it.
type source struct{ *client }

var _ trust.DeltaSource = source{}

func (s source) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
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
