package report

import (
	"bakehouse/schema"
	"bakehouse/schema/plain"
)

// Ignored bounds what is kept and reported of signatures that did not count; a server may have made them up.
func Ignored(list []schema.IgnoredSignature) []schema.IgnoredSignature {
	var out []schema.IgnoredSignature
	for _, s := range list[:min(len(list), schema.MaxIgnored)] {
		out = append(out, schema.IgnoredSignature{Key: plain.Name(s.Key), Reason: plain.Name(s.Reason)})
	}
	return out
}
