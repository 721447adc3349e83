package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/judge"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// place is how far a monitor has come: the newest state that was clean, with all before it.
type place struct {
	Timestamp int64         `json:"timestamp"`
	SHA256    schema.Digest `json:"sha256"`          // of the timestamp's file
	Newest    time.Time     `json:"newest,omitzero"` // when there was nothing after it
}

// Monitoring is one pass over what was published since the last, as `monitor --json` prints it.
type Monitoring struct {
	From     int64            `json:"from"`   // timestamp after which it began
	Place    int64            `json:"place"`  // from which the next pass begins
	Newest   int64            `json:"newest"` // timestamp in the store
	Status   string           `json:"verdict"`
	Store    []judge.Entry    `json:"store"` // alarms that are not of one release
	Releases []*judge.Verdict `json:"releases"`
	Checked  time.Time        `json:"checked"`
}

// Monitor judges every state that was published after the place that the file keeps; or after the timestamp from, if
// that is not negative: a person has looked at what was before. The place never moves past a state that is not clean.
func Monitor(ctx context.Context, o Options, file string, from int64, log io.Writer) (*Monitoring, error) {
	p, err := o.reader(ctx, log)
	if err != nil {
		return nil, err
	}
	at, err := readPlace(file)
	if err != nil {
		return nil, err
	}
	if from >= 0 {
		at = place{Timestamp: from}
	}
	j, err := p.newJudge(ctx, func(jo *judge.Options) { jo.Seen = at.Newest })
	if err != nil {
		return nil, err
	}
	versions := j.Versions()
	m := &Monitoring{From: at.Timestamp, Newest: versions[len(versions)-1], Releases: []*judge.Verdict{},
		Store: []judge.Entry{}, Checked: p.now.UTC()}
	if m.Store, err = p.storeAlarms(ctx, j, at); err != nil {
		return nil, err
	}
	if at.Timestamp > 0 {
		if err := j.After(ctx, at.Timestamp); err != nil {
			return nil, err
		}
	}
	clean := true
	for {
		v, err := j.Next(ctx)
		if err != nil {
			return nil, err
		}
		if v == nil {
			break
		}
		m.Releases = append(m.Releases, v)
		if clean = clean && v.Status == judge.Clean; clean {
			at = place{Timestamp: v.Timestamp, SHA256: v.SHA256}
		}
	}
	if len(m.Store) == 0 {
		if clean {
			at.Newest = m.Checked
		}
		if at.SHA256.IsZero() && slices.Contains(versions, at.Timestamp) {
			if at.SHA256, err = timestampSum(ctx, p.store, at.Timestamp); err != nil {
				return nil, err
			}
		}
		if err := at.write(file); err != nil {
			return nil, err
		}
	}
	m.Place = at.Timestamp
	m.settle()
	return m, nil
}

func timestampSum(ctx context.Context, st store.Store, version int64) (schema.Digest, error) {
	b, err := store.Read(ctx, st, schema.TimestampKey(version), schema.MaxTimestamp)
	return schema.DigestOf(b), err
}

// storeAlarms holds the store against trust/ and against what it published when the monitor looked last.
func (p *pass) storeAlarms(ctx context.Context, j *judge.Judge, at place) ([]judge.Entry, error) {
	all, err := j.Roots(ctx)
	if err != nil {
		return nil, err
	}
	all = append([]judge.Entry{}, all...) // not nil, for JSON
	versions := j.Versions()
	if newest := versions[len(versions)-1]; newest < at.Timestamp {
		return append(all, judge.Entry{Field: "timestamp", Reason: fmt.Sprintf(
			"the newest is %d, and %d was published before: the store was put back", newest, at.Timestamp)}), nil
	}
	if at.SHA256.IsZero() || !slices.Contains(versions, at.Timestamp) {
		return all, nil
	}
	switch sum, err := timestampSum(ctx, p.store, at.Timestamp); {
	case err != nil:
		return nil, err
	case sum != at.SHA256:
		all = append(all, judge.Entry{Field: "timestamp", Reason: fmt.Sprintf(
			"%s is not the file that was judged before", schema.TimestampKey(at.Timestamp))})
	}
	return all, nil
}

func (m *Monitoring) settle() {
	m.Status = judge.Clean
	for _, v := range m.Releases {
		if v.Status == judge.Alarm || m.Status == judge.Clean {
			m.Status = v.Status
		}
	}
	if len(m.Store) > 0 {
		m.Status = judge.Alarm
	}
}

// count is how many states have that verdict.
func (m *Monitoring) count(status string) (n int) {
	for _, v := range m.Releases {
		if v.Status == status {
			n++
		}
	}
	return n
}

// Err is an alarm, or that something cannot be judged, as an error.
func (m *Monitoring) Err() error {
	const accept = "once somebody has looked, begin after timestamp N with --from N"
	switch m.Status {
	case judge.Alarm:
		n := m.count(judge.Alarm)
		if len(m.Store) > 0 {
			n++
		}
		return fault.Refuse(fmt.Errorf("ALARM: of what is published, %d does not follow from reviewed commits", n),
			"find out who published it and take their keys away (bakehouse root next); %s", accept)
	case judge.Unjudged:
		isUnjudged := func(v *judge.Verdict) bool { return v.Status == judge.Unjudged }
		first := m.Releases[slices.IndexFunc(m.Releases, isUnjudged)]
		return fault.Hint(fmt.Errorf("%w: timestamp %d: %s", fault.ErrUnjudged, first.Timestamp, first.Unjudged[0]),
			"judge it with that version of bakehouse, in a whole clone; or %s", accept)
	}
	return nil
}

// Text is m for people.
func (m *Monitoring) Text() string {
	var b strings.Builder
	for _, e := range m.Store {
		fmt.Fprintf(&b, "store: %s\n", e)
	}
	for _, v := range m.Releases {
		b.WriteString(v.Text())
	}
	if len(m.Releases) == 0 {
		fmt.Fprintf(&b, "nothing was published after timestamp %d\n", m.From)
	}
	return b.String()
}

// Prometheus is m as a file for node_exporter's textfile collector.
func (m *Monitoring) Prometheus() []byte {
	var b strings.Builder
	gauge := func(name, help string, value int64) {
		fmt.Fprintf(&b, "# HELP bakehouse_monitor_%s %s\n# TYPE bakehouse_monitor_%s gauge\nbakehouse_monitor_%s %d\n",
			name, help, name, name, value)
	}
	gauge("alarms", "Published states after the place that follow from no reviewed commit, and faults of the store.",
		int64(m.count(judge.Alarm)+len(m.Store)))
	gauge("unjudged", "Published states after the place that this version cannot judge.",
		int64(m.count(judge.Unjudged)))
	gauge("place_timestamp", "Version of the timestamp up to which everything is clean.", m.Place)
	gauge("newest_timestamp", "Version of the newest timestamp in the store.", m.Newest)
	gauge("checked_seconds", "When the monitor last came to an end, in seconds since 1970.", m.Checked.Unix())
	return []byte(b.String())
}

const maxPlace = 16 << 20

// readPlace reads the file; one that is not there is the beginning.
func readPlace(file string) (at place, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, fault.Hint(err, "name another file with --state")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPlace))
	if err == nil {
		err = schema.Decode(b, &at)
	}
	if err == nil && at.Timestamp < 0 {
		err = fmt.Errorf("timestamp %d", at.Timestamp)
	}
	if err != nil {
		return at, fault.Hint(fmt.Errorf("%s: %w", file, err),
			"it is no monitor's place: name another file with --state, or remove it to begin with the oldest release")
	}
	return at, nil
}

func (at place) write(file string) error {
	b, err := json.MarshalIndent(at, "", "  ")
	if err == nil {
		err = durable.WriteFile(file, append(b, '\n'), 0o600)
	}
	return fault.Hint(err, "name another file with --state")
}
