package kinds_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/serve/store/kinds"
	"bakehouse/serve/store/storetest"
)

func checked(key string, b []byte) ([]byte, error) {
	r, err := kinds.Checked(key, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestWhatIsPublishedIsWhatItsKeysPromise(t *testing.T) {
	for _, o := range storetest.Release(1) {
		if b, err := checked(o.Key, o.Data); err != nil || !bytes.Equal(b, o.Data) {
			t.Errorf("%s: %v", o.Key, err)
		}
		bad := append(bytes.Clone(o.Data), '}')
		if _, err := checked(o.Key, bad); err == nil {
			t.Errorf("%s with another byte is taken", o.Key)
		}
	}
}

func TestAnObjectUnderAnothersKeyIsRefused(t *testing.T) {
	one, two := storetest.Release(1), storetest.Release(2)
	for i, o := range two {
		for _, other := range one {
			if other.Key == o.Key || !strings.HasPrefix(other.Key, o.Key[:strings.IndexByte(o.Key, '/')]) {
				continue
			}
			if _, err := checked(o.Key, other.Data); err == nil {
				t.Errorf("%s is taken for %s (%d)", other.Key, o.Key, i)
			}
		}
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestWhatIsLargerThanItsKindIsRefused(t *testing.T) {
	d := schema.DigestOf(nil)
	for _, key := range []string{schema.TimestampKey(1), schema.LockKey(1), schema.ManifestKey(d), schema.TargetKey(d),
		schema.TreeKey(d), schema.StatementKey(d, "k"), schema.MetadataKey("root", 1)} {
		r, err := kinds.Checked(key, endless{})
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err == nil || !strings.Contains(err.Error(), "larger than an object of its kind may be") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestOnlyKindsThatAreKnownAreTaken(t *testing.T) {
	for _, key := range []string{"log/1.json", "deltas/ab/abcd", "packages/ab/abcd", ".lock", "", "segments/../x",
		"segments/ab/abcd"} {
		if _, err := checked(key, nil); err == nil {
			t.Errorf("%q is taken", key)
		}
	}
	altered := (*schema.AlteredError)(nil)
	if _, err := checked(schema.SegmentKey(schema.DigestOf(nil)), []byte("x")); !errors.As(err, &altered) {
		t.Errorf("another digest: %v", err)
	}
}

func FuzzChecked(f *testing.F) {
	for _, o := range storetest.Release(1) {
		f.Add(o.Key, o.Data)
	}
	f.Fuzz(func(t *testing.T, key string, b []byte) {
		got, err := checked(key, b)
		if err == nil && !bytes.Equal(got, b) {
			t.Errorf("%s: other bytes are read than there are", key)
		}
		if d, ok := kinds.Addressed(key); ok && err == nil && d != schema.DigestOf(b) {
			t.Errorf("%s is taken with digest %s", key, schema.DigestOf(b))
		}
	})
}
