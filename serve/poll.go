package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
	"bakehouse/serve/tidy"
)

// servePoll takes the host's report and says whether anything is new for it. An idle poll is answered 204.
func (s *Server) servePoll(x *exchange, r *http.Request, host string) {
	var q schema.PollRequest
	if !x.decode(r, &q) {
		return
	}
	version, ok := s.agree(x, q.Schema)
	if !ok {
		return
	}
	s.noteTrouble(s.releases.Peek(r.Context()))
	rel, _ := s.releases.Now()

	report, now := tidy.Report(q.Report), time.Now()
	if err := s.inventory.Report(x.who, inventory.Seen{At: now, Address: r.RemoteAddr,
		Timestamp: q.Timestamp, Root: q.Root, Report: report}); err != nil {
		s.log.Error("inventory", "error", err) // a lost report is no reason to keep an update from the host
	}
	s.machines.Note(r.Context(), x.who, report.Machine, r.RemoteAddr)
	// A package that was installed by hand was never asked for here; its later differences build on it all the same.
	for _, p := range candidates(rel, host) {
		if p.SHA256 == report.Installed || p.SHA256 == report.Downloaded {
			s.remember(r.Context(), host, p)
		}
	}

	a := schema.PollAnswer{Schema: version, Root: rel.Root, Hold: hold(rel, host)}
	if now, renamed := rel.NameNow(host); renamed && s.free(r.Context(), now, x.who) {
		a.Name = now
	} else if a.Hold != "" {
		s.gone.Note(s.log, host, rel.Timestamp, a.Hold)
	}
	s.rollout.holdBack(&a, rel, host, &report)
	idle := a.Name == "" && q.Timestamp == rel.Timestamp && q.Held == (a.Hold != "") &&
		(!q.Held || q.HoldCode == a.HoldCode)
	switch {
	case idle && a.Next == 0:
		x.WriteHeader(http.StatusNoContent)
		return
	case !idle:
		a.Files = s.pollFiles(rel, host, q.MetadataVersions)
	}
	if h, ok := rel.Hosts[host]; ok {
		a.Site = h.Site
	}
	x.Header().Set("Cache-Control", cacheNever)
	x.answerTo(r, a)
}

// hold says why this server holds the host back, if it does.
func hold(r *origin.Release, host string) string {
	now, renamed := r.NameNow(host)
	switch _, ok := r.Hosts[host]; {
	case ok:
		return ""
	case renamed:
		return "host " + host + " is called " + now + " now"
	}
	return "host " + host + " is not in the fleet"
}

// free reports whether a host that is registered as who can go under a name: nobody else is registered as that.
func (s *Server) free(ctx context.Context, name, who string) bool {
	if name == who {
		return true
	}
	_, err := s.inventory.Secret(ctx, name)
	return errors.Is(err, fs.ErrNotExist)
}

// maxPollFiles is how many bytes of files one poll brings. What does not fit is left for the host to ask for.
const maxPollFiles = schema.MaxWire / 2

// pollFiles are the files that the host lacks of rel, in the order in which it needs them. Of the bins it is the host's
// own, which is the only one that it may read.
func (s *Server) pollFiles(rel *origin.Release, host string, held schema.MetadataVersions) (files []schema.PollFile) {
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
		limit, _ := rel.RoleLimit(role, host)
		e, err := s.smallest(name, role, version, have, limit)
		add(name, e, have, err)
	}
	for v := held.Root + 1; held.Root > 0 && v <= rel.Root && room > 0; v++ {
		role(metadata.ROOT, v, v-1)
	}
	if held.Timestamp != rel.Timestamp {
		e, err := s.stampFor(rel, held.Timestamp)
		add("timestamp.json", e, held.Timestamp, err)
	}
	role(metadata.SNAPSHOT, rel.Versions[metadata.SNAPSHOT], held.Snapshot)
	role(metadata.TARGETS, rel.Versions[metadata.TARGETS], held.Targets)
	if policy := rel.Targets[schema.PolicyTarget]; len(policy) > 0 && held.Targets < rel.Versions[metadata.TARGETS] {
		if e, lacks, err := s.policyFor(policy[0], held.Targets); lacks {
			add(policy[0].Hex()+"."+schema.PolicyTarget, e, held.Targets, err)
		}
	}
	bin := rel.BinOf(host)
	role(bin, rel.Versions[bin], held.Bin)
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
func (s *Server) stampFor(rel *origin.Release, have int64) (encoded, error) {
	file := metadataFile{name: fmt.Sprintf("%d.timestamp.json", rel.Timestamp), bytes: rel.Stamp, verified: true}
	if have <= 0 || have > rel.Timestamp {
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
	b, err := s.metadata.Get(encoding{file: name}, func() ([]byte, int64, error) {
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
	b, err := s.metadata.Get(encoding{file: "policy", have: targets}, func() ([]byte, int64, error) {
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
