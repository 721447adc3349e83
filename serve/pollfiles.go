package serve

import (
	"context"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// maxPollFiles is how many bytes of files one poll brings. What does not fit is left for the host to ask for.
const maxPollFiles = schema.MaxWire / 2

// pollFiles are the files that the host lacks of rel, in the order in which it needs them. Of the bins it is the host's
// own, which is the only one that it may read.
func (s *Server) pollFiles(rel *release, host string, held schema.MetadataVersions) (files []schema.PollFile) {
	room := maxPollFiles
	add := func(name string, e encoded, have int64, err error) {
		if err != nil {
			s.log.Debug("a poll goes without a file", "file", name, "error", err) // asking for it says what is wrong
			return
		}
		if len(e.bytes) > room {
			return
		}
		room -= len(e.bytes)
		f := schema.PollFile{Name: name, Data: e.bytes, Gzip: e.coding == codingGzip}
		if e.coding == codingDelta {
			f.Against = have
		}
		files = append(files, f)
	}
	role := func(role string, version, have int64) {
		if version <= have {
			return
		}
		name := fmt.Sprintf("%d.%s.json", version, role)
		limit, _ := rel.roleLimit(role, host)
		e, err := s.smallest(name, role, version, have, limit)
		add(name, e, have, err)
	}
	for v := held.Root + 1; held.Root > 0 && v <= rel.root && room > 0; v++ {
		role(metadata.ROOT, v, v-1)
	}
	if held.Timestamp != rel.timestamp {
		e, err := s.stampFor(rel, held.Timestamp)
		add("timestamp.json", e, held.Timestamp, err)
	}
	role(metadata.SNAPSHOT, rel.versions[metadata.SNAPSHOT], held.Snapshot)
	role(metadata.TARGETS, rel.versions[metadata.TARGETS], held.Targets)
	if policy := rel.targets[schema.PolicyTarget]; len(policy) > 0 && held.Targets < rel.versions[metadata.TARGETS] {
		if e, lacks, err := s.policyFor(policy[0], held.Targets); lacks {
			add(policy[0].Hex()+"."+schema.PolicyTarget, e, held.Targets, err)
		}
	}
	bin := rel.binOf(host)
	role(bin, rel.versions[bin], held.Bin)
	return files
}

// smallest is a verified file as it is shortest for a host that holds the version have of the role.
func (s *Server) smallest(name, role string, version, have, limit int64) (encoded, error) {
	file, err := s.metadataFile(name, limit)
	if err != nil {
		return encoded{}, err
	}
	if !file.verified {
		return encoded{}, fmt.Errorf("%s was not verified", name)
	}
	if have > 0 {
		if e, ok := s.against(file, role, have, limit); ok {
			return e, nil
		}
	}
	return s.gzipped(file), nil
}

// stampFor is the newest timestamp for a host that holds another.
func (s *Server) stampFor(rel *release, have int64) (encoded, error) {
	file := metadataFile{name: fmt.Sprintf("%d.timestamp.json", rel.timestamp), bytes: rel.stamp, verified: true}
	if have <= 0 || have > rel.timestamp {
		return s.gzipped(file), nil
	}
	e, ok := s.difference(file, have, func(ctx context.Context) ([]byte, error) {
		return store.Read(ctx, s.store, schema.TimestampKey(have), schema.MaxTimestamp)
	})
	if !ok {
		e = s.gzipped(file)
	}
	return e, nil
}

// policyFor is the policy for a host that holds the targets of that version, whose policy may be the same. It is found
// through the targets, which are public, and not by a digest that the host names: other targets are not for hosts.
func (s *Server) policyFor(policy schema.Digest, targets int64) (e encoded, lacks bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	read := func(ctx context.Context, d schema.Digest) ([]byte, error) {
		b, err := store.Read(ctx, s.store, schema.TargetKey(d), schema.MaxTarget)
		if got := schema.DigestOf(b); err == nil && got != d {
			err = &schema.AlteredError{Object: "target", Want: d, Got: got}
		}
		return b, err
	}
	before, known := s.policyOf(targets)
	if known && before == policy {
		return e, false, nil
	}
	name := policy.Hex() + "." + schema.PolicyTarget
	b, err := s.metadata.get(encoding{file: name}, func() ([]byte, int64, error) {
		b, err := read(ctx, policy)
		return b, int64(len(b)) + 1, err
	})
	if err != nil {
		return e, true, err
	}
	file := metadataFile{name: name, bytes: b, verified: true}
	if known {
		e, ok := s.difference(file, targets, func(ctx context.Context) ([]byte, error) { return read(ctx, before) })
		if ok {
			return e, true, nil
		}
	}
	return s.gzipped(file), true, nil
}

// policyOf is the digest of the policy that targets of that version name.
func (s *Server) policyOf(targets int64) (d schema.Digest, known bool) {
	if targets <= 0 {
		return d, false
	}
	b, err := s.metadata.get(encoding{file: "policy", have: targets}, func() ([]byte, int64, error) {
		file, err := s.metadataFile(fmt.Sprintf("%d.%s.json", targets, metadata.TARGETS), schema.MaxTargets)
		if err != nil {
			return nil, 0, err
		}
		var t struct {
			Signed struct {
				Targets map[string]struct {
					Hashes map[string]string `json:"hashes"`
				} `json:"targets"`
			} `json:"signed"`
		}
		if err := schema.Decode(file.bytes, &t); err != nil {
			return nil, 0, err
		}
		d, err := schema.ParseHex(t.Signed.Targets[schema.PolicyTarget].Hashes["sha256"])
		return d[:], int64(len(d)) + 1, err
	})
	if err != nil {
		return d, false
	}
	return schema.Digest(b), true
}
