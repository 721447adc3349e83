package fleet

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestFormsOfTexts(t *testing.T) {
	cases := map[string]struct{ right, wrong []string }{
		"host": {[]string{"a", "a.example", "192.0.2.1", "::1"},
			[]string{"", "10.1.0.300", "a b", "a:1", "http://a", "a/b"}},
		"address": {[]string{"192.0.2.1", "::1"},
			[]string{"", "a", "192.0.2.1:1", "192.0.2.0/24", "fe80::1%eth0", "192.0.2"}},
		"network": {[]string{"192.0.2.1", "::1", "0.0.0.0/0", "2001:db8::/32"},
			[]string{"", "a", "10.0.0.0/33", "10.0/8"}},
		"networks": {[]string{"192.0.2.1  ::/0"},
			[]string{"192.0.2.1,::1", "192.0.2.1 10.1.0.300"}},
		"server": {[]string{"zabbix.example", "10.1.0.0/16", "::/0"},
			[]string{"", "10.1.0.0/64", "10.1.0.300", "a:10051"}},
		"cluster": {[]string{"a", "a:10051", "a;b:1", "[::1]:1", "::1"},
			[]string{"", "a;", "a:", "a:0", "a:65536", "a,b",
				"10.1.0.300:1", ":1"}},
		"listen": {[]string{"1", ":65535", "127.0.0.1:9100", "[::1]:9100", "localhost:1"},
			[]string{"", ":", "0", ":65536",
				"::1:", "10.1.0.300:1", "a b:1", "::1"}},
	}
	for _, name := range FormNames() {
		c, ok := cases[name]
		if !ok {
			t.Errorf("the form %s has no cases", name)
		}
		for _, s := range c.right {
			if err := forms[name](s); err != nil {
				t.Errorf("%s %q: %v", name, s, err)
			}
		}
		for _, s := range c.wrong {
			if forms[name](s) == nil {
				t.Errorf("%s %q is taken", name, s)
			}
		}
	}
}

func TestFormsAreCheckedWhereTheyAreWritten(t *testing.T) {
	text := func(s string, line int) Value { return Value{JSON: json.RawMessage(Quote(s)), Pos: Pos{"f", line, 1}} }
	v := StructOf(Pos{}, []Field{{"to", Concat([]Value{{Items: []Value{text("a", 1), text("a b", 2)}}})},
		{"other", text("a b", 3)}, {"at", text("10.1.0.300", 4)}})
	p := Param{Name: "p", Forms: []Form{{PartPath{"to"}, "host"}, {PartPath{"at"}, "host"}}}
	var got []string
	for _, p := range p.CheckForms(v) {
		got = append(got, p.Error())
	}
	slices.Sort(got)
	if want := []string{`f:2:1: p.to[1]: "a b" is neither a name of a machine nor an IP address`,
		`f:4:1: p.at: "10.1.0.300" is not an IP address, and no name of a machine ends in a number`}; !slices.Equal(got,
		want) {
		t.Errorf("%q", got)
	}
}
