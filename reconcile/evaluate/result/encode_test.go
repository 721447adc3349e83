package result

import (
	"bytes"
	"reflect"
	"testing"

	"bakehouse/schema/fleet"
)

func at(line int) fleet.Pos { return fleet.Pos{File: "hosts/h.cue", Line: line, Col: 2} }

// sample has something of everything.
func sample() *Directory {
	scalar := func(k Kind, text string) *Node { return &Node{Kind: k, Pos: at(3), Text: text} }
	return &Directory{Package: "hosts", Clauses: []fleet.Pos{at(1), {File: "hosts/more.cue", Line: 1, Col: 9}},
		Value: &Node{Kind: Struct, Names: []string{"b", "a\x00c", "list"}, Parts: []*Node{
			{Kind: Struct, Pos: at(2), Names: []string{"x", "y"},
				Parts: []*Node{scalar(String, "a <\"é\">"), scalar(Int, "-1")}},
			{Kind: Struct, Pos: at(2), Names: []string{"x", "y"}, Parts: []*Node{scalar(Null, "null"), scalar(Bool, "true")}},
			{Kind: List, Parts: []*Node{scalar(Float, "2"), scalar(Bytes, "\xff"), {Kind: List, Pos: at(5)},
				{Kind: Struct, Pos: at(6)},
				{Kind: Struct, Pos: at(7), Names: []string{"a", "c"}, Parts: []*Node{scalar(Int, "1"), scalar(Int, "2")}},
				{Kind: Struct, Pos: at(7), Names: []string{"a\x00c"}, Parts: []*Node{scalar(Int, "1")}}}},
		}},
		Plugin: &Plugin{Doc: "doc", Combine: fleet.CombineAppend,
			Reads: map[string][]string{"host": {"name"}, "fleet": {"url", "keys"}},
			Params: []fleet.Param{{Name: "p", Type: "string", Default: "\"x\"", Required: true, Doc: "d", Secret: true,
				Pos: at(8)}, {Name: "q", Secrets: []fleet.PartPath{{"a", "*"}, {"b"}},
				Forms: []fleet.Form{{Path: fleet.PartPath{"c"}, Name: "host"}, {Name: "listen"}}}}},
		Problems: fleet.Problems{{Pos: at(9), Msg: "wrong", Hint: "right", Also: []fleet.Pos{at(1)},
			Path: []string{"a", "0"}},
			{Msg: "nowhere"}},
		Broken: true,
	}
}

func TestADirectoryComesBackAsItWas(t *testing.T) {
	for name, want := range map[string]*Directory{"something of everything": sample(), "nothing": {},
		"a value alone": {Value: &Node{Kind: Struct}}} {
		got, err := Decode(string(Encode(want)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s comes back as\n%+v", name, got)
		}
	}
	n := sample().Value
	got, err := DecodeNode(string(EncodeNode(n)))
	if err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("a value comes back as %+v, %v", got, err)
	}
}

func TestAValueIsAsTheModelHasIt(t *testing.T) {
	v := sample().Value.Value()
	want := `{"a\u0000c":{"x":null,"y":true},"b":{"x":"a <\"é\">","y":-1},"list":` +
		`[2.0,"\ufffd",[],{},{"a":1,"c":2},{"a\u0000c":1}]}`
	if string(v.JSON) != want {
		t.Errorf("got\n%s\nwant\n%s", v.JSON, want)
	}
	var text func(v fleet.Value) string
	text = func(v fleet.Value) (s string) {
		switch {
		case v.IsList():
			s = "["
			for _, item := range v.Items {
				s += text(item) + " "
			}
			return s + "]"
		case v.IsStruct():
			s = "{"
			for _, f := range v.Fields {
				s += f.Name + ":" + text(f.Value) + " "
			}
			return s + "}"
		}
		return string(v.JSON)
	}
	if got, want := text(v), "{a\x00c:{x:null y:true } b:{x:\"a <\\\"é\\\">\" y:-1 } list:[2.0 \"\\ufffd\" [] {} {a:1 "+
		"c:2 } {a\x00c:1 } ] }"; got != want {
		t.Errorf("its parts are\n%s, want\n%s", got, want)
	}
	if v.Pos != at(2) || v.Fields[2].Pos != at(3) || v.Fields[2].Items[2].Pos != at(5) {
		t.Errorf("places %v, %v, %v", v.Pos, v.Fields[2].Pos, v.Fields[2].Items[2].Pos)
	}
	if !v.Has(at(7)) || v.Has(at(8)) {
		t.Error("Has finds another place than those of its parts")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(string(Encode(sample())))
	f.Add("")
	f.Fuzz(func(t *testing.T, form string) {
		d, err := Decode(form)
		if err != nil {
			return
		}
		// What decodes is a directory like any other: it can be looked at, and encoded again.
		if d.Value != nil {
			d.Value.Value()
		}
		again := Encode(d)
		e, err := Decode(string(again))
		if err != nil {
			t.Fatalf("encoded again, it does not decode: %v", err)
		}
		if !bytes.Equal(again, Encode(e)) {
			t.Error("the form is not stable")
		}
	})
}
