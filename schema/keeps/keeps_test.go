package keeps

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"bakehouse/schema"
)

func sections() Keeps {
	k := Default("checkmk")
	k.Command, k.Names = []string{"/usr/bin/check_mk_agent"}, `^<<<([^<>:]+)`
	return k
}

func TestNamesAreFoundOnceEachWhateverIsAroundThem(t *testing.T) {
	t.Parallel()
	k := sections()
	out := "<<<df>>>\n/dev/sda 1\n<<<lnx_if:sep(58)>>>\n<<<df>>>\n<<<<other>>>>\n<<<mem\x1b[31m>>>\n" +
		strings.Repeat("x", 3*maxLine) + "<<<hidden>>>\n<<<last>>>"
	got, err := k.In(iotest.OneByteReader(strings.NewReader(out)))
	if want := []string{"df", "last", "lnx_if", "mem [31m"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	k.Names = "^# TYPE [a-z_]+"
	if got, err := k.In(strings.NewReader("# TYPE node_load1 gauge\n")); err != nil || got[0] != "# TYPE node_load" {
		t.Errorf("%q, %v", got, err)
	}
}

// endless is the same name again and again, in lines of some length: what is bounded is bytes, not lines.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	line := "<<<a>>>" + strings.Repeat("x", 1000) + "\n"
	n := 0
	for n+len(line) <= len(b) {
		n += copy(b[n:], line)
	}
	return n + copy(b[n:], line), nil
}

func TestAnOutputWithoutEndIsNotRead(t *testing.T) {
	t.Parallel()
	k := sections()
	if _, err := k.In(endless{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
	var many strings.Builder
	for i := range MaxNames / 8 {
		fmt.Fprintf(&many, "<<<a-long-name-%d>>>\n", i)
	}
	if _, err := k.In(strings.NewReader(many.String())); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
	if _, err := k.In(iotest.ErrReader(errors.New("gone"))); err == nil {
		t.Error("an output that broke off counts as whole")
	}
}

func TestWhatIsAnnouncedIsNotLost(t *testing.T) {
	t.Parallel()
	k := sections()
	k.Dropped = []string{"mysql.*", "if|df"}
	lost := k.Lost([]string{"df", "lnx_if", "mem", "mysql_a", "old_mysql"}, []string{"mem"})
	if want := []string{"lnx_if", "old_mysql"}; !reflect.DeepEqual(lost, want) {
		t.Errorf("%q, want %q", lost, want)
	}
}

func TestOnlyWhatFindsTheNamesMakesThemOthers(t *testing.T) {
	t.Parallel()
	k, same, other := sections(), sections(), sections()
	same.User, same.Dropped, same.Settle, same.Retries, same.Units = "x", []string{"a"}, 0, 0, []string{"u"}
	other.Names = "^<<<(.*)>>>"
	if k.ID() != same.ID() || k.ID() == other.ID() {
		t.Error(k.ID(), same.ID(), other.ID())
	}
}

func TestWhatNoHostCouldUseIsRefusedByItsField(t *testing.T) {
	t.Parallel()
	for field, bend := range map[string]func(*Keeps){
		"command": func(k *Keeps) { k.Command = nil },
		"url":     func(k *Keeps) { k.Command, k.URL = nil, "https://u:p@x/" },
		"names":   func(k *Keeps) { k.Names = "a)(b" },
		"dropped": func(k *Keeps) { k.Dropped = []string{"("} },
		"settle":  func(k *Keeps) { k.Settle = schema.Duration(time.Hour) },
		"retries": func(k *Keeps) { k.Retries = -1 },
		"within":  func(k *Keeps) { k.Within = 0 },
	} {
		k := sections()
		bend(&k)
		var bad *FieldError
		if err := k.Check(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	k := sections()
	if err := k.Check(); err != nil {
		t.Error(err)
	}
	if list, err := Decode([]byte(`[{"plugin":"b","command":["/b"],"names":"x","settle":"5s","within":"1m"},` +
		`{"plugin":"a","url":"http://[::1]:9100/m","names":"x","settle":"5s","within":"1m","later":1}]`)); err != nil ||
		len(list) != 2 || list[0].Plugin != "a" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := Decode([]byte(`[{"plugin":"a"}]`)); err == nil {
		t.Error("accepted")
	}
}
