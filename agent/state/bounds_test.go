package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fill puts text into every string below v, and as many of them as make up n bytes into every list.
func fill(v reflect.Value, text string, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, n)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text, n)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n/(len(text)+1)+1, n/(len(text)+1)+1))
		for i := range v.Len() {
			fill(v.Index(i), text, len(text))
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(text)
		}
	}
}

// writesAndReads fails unless a record with text everywhere is written, and read back as it was written.
func writesAndReads(t *testing.T, text string, n int) {
	t.Helper()
	f := Files{Root: t.TempDir(), Now: time.Now}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	r := &Record{}
	fill(reflect.ValueOf(r).Elem(), text, n)
	r.Schema, r.Healed, r.Bootstrap = RecordSchema, nil, nil
	r.Registration = &Registration{Server: "https://bakehouse.example", Host: "web01", Secret: "s"}
	if err := f.Write(r); err != nil {
		t.Fatalf("%d bytes of %.20q: %v", n, text, err)
	}
	once, err := f.Record()
	if err != nil || once.Healed != nil {
		t.Fatalf("%d bytes of %.20q are written and not read: %v, %v", n, text, err, once)
	}
	if err := f.Write(once); err != nil {
		t.Fatal(err)
	}
	if again, err := f.Record(); err != nil || !reflect.DeepEqual(again, once) {
		t.Errorf("written again, %.20q is another: %v", text, err)
	}
	// Settings are signed or of registration, and checked as what they are.
	once.Worked, once.Site, once.Reported = nil, nil, nil
	if err := f.Write(once); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(f.Stored(RecordFile)); err != nil || bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == '\u202e'
	}) {
		t.Errorf("%.20q is in the file as it came (%v)", text, err)
	}
}

func TestWhateverIsWrittenDownCanBeReadBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "\x1b[2J\u202e\x9b", "<&>", "\n", "\xff\xfe", "\u2028"} {
		for _, n := range []int{0, 10, 1 << 12} {
			writesAndReads(t, strings.Repeat(text, n/max(1, len(text))), n)
			writesAndReads(t, text, n)
		}
	}
	writesAndReads(t, strings.Repeat("x", maxRecord+1), 0)
	seed := rand.NewPCG(1, uint64(time.Now().UnixNano()))
	random := rand.New(seed)
	for range 20 {
		b := make([]byte, random.IntN(1<<12))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		writesAndReads(t, string(b), random.IntN(1<<12))
	}
}

func FuzzARecordIsReadAsItWasWritten(f *testing.F) {
	f.Add("\x1b]0;owned\x07", 100)
	f.Fuzz(func(t *testing.T, text string, n int) { writesAndReads(t, text, max(0, min(n, 1<<12))) })
}

func TestARegistrationThatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	t.Parallel()
	f := Files{Root: t.TempDir(), Now: time.Now}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	r := &Record{Schema: RecordSchema,
		Registration: &Registration{Server: "https://bakehouse.example", Host: "web01", Secret: "s"}}
	if err := f.Write(r); err != nil {
		t.Fatal(err)
	}
	big := *r.Registration
	big.Certificates = []string{strings.Repeat("x", maxRecord)}
	if err := f.Write(&Record{Schema: RecordSchema, Registration: &big}); err == nil {
		t.Error("it is written")
	}
	got, err := f.Record()
	if err != nil || got.Registration.Host != "web01" || len(got.Registration.Certificates) > 0 {
		t.Errorf("what was there before: %+v, %v", got, err)
	}
}

func TestAStateThatIsTooLongToReadIsHealedFromTheRegistration(t *testing.T) {
	t.Parallel()
	f := Files{Root: t.TempDir(), Now: time.Now}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	r := &Record{Schema: RecordSchema,
		Registration: &Registration{Server: "https://bakehouse.example", Host: "web01", Secret: "s"}}
	long := fmt.Appendf(nil, `{"schema":1,"hold":"%s"}`, strings.Repeat("x", 22<<20))
	if err := errors.Join(f.Write(r), os.WriteFile(f.Stored(RecordFile), long, 0o600)); err != nil {
		t.Fatal(err)
	}
	got, err := f.Record()
	if err != nil || got.Healed == nil || !strings.Contains(got.Healed.Error(), "longer than") ||
		got.Registration.Host != "web01" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(f.Stored(IdentityFile), long, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(r); err != nil {
		t.Errorf("nothing can be written over both: %v", err)
	}
	if got, err := f.Record(); err != nil || got.Healed != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
