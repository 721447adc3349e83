package schema

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func statementExample(t *testing.T) (Statement, string) {
	t.Helper()
	m, _ := draft("head", "segment", "tail")
	s := StatementFor(m, newer)
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return s, string(b)
}

// Every byte of it is signed and published: other programs read it, and another encoding is another signature.
func TestAStatementIsAnInTotoStatement(t *testing.T) {
	s, got := statementExample(t)
	want := `{"_type":"https://in-toto.io/Statement/v1",` +
		`"predicate":{"anchor":"` + s.Anchor.String() + `","format":"` + string(s.Format) +
		`","manifest":"` + newer.String() + `","platform":"` + s.Platform.String() +
		`","recipe":"` + string(s.Recipe) + `"},` +
		`"predicateType":"urn:bakehouse:package:v1",` +
		`"subject":[{"digest":{"sha256":"` + s.Package.Hex() + `"},"name":"` + s.Name + `"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if back, err := DecodeStatement([]byte(got)); err != nil || back != s {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestAStatementMayHaveFurtherFieldsAndDigests(t *testing.T) {
	s, b := statementExample(t)
	more := strings.NewReplacer(`{"_type"`, "{ \"later\": [1],\n\"_type\"", `"sha256"`, `"sha512":"00","sha256"`,
		`"anchor"`, `"log":{},"anchor"`).Replace(b)
	if back, err := DecodeStatement([]byte(more)); err != nil || back != s {
		t.Errorf("%s: %+v, %v", more, back, err)
	}
}

func TestAStatementSpeaksOfOnePackageOnly(t *testing.T) {
	s, b := statementExample(t)
	subject := `{"digest":{"sha256":"` + s.Package.Hex() + `"},"name":"` + s.Name + `"}`
	for name, c := range map[string]struct{ old, new, says string }{
		"an older in-toto":         {"Statement/v1", "Statement/v0.1", `/v0.1", not https://in-toto.io/Statement/v1`},
		"another predicate":        {"package:v1", "package:v2", `its predicate type is "urn:bakehouse:package:v2"`},
		"no subject":               {subject, "", "it has 0 subjects, not one"},
		"two subjects":             {subject, subject + "," + subject, "it has 2 subjects, not one"},
		"no list of subjects":      {"[" + subject + "]", subject, "subject: "},
		"the subject is null":      {subject, "null", `"name" is missing`},
		"another digest algorithm": {`"sha256"`, `"sha512"`, `"sha256" is missing`},
		"a digest that is short":   {s.Package.Hex(), s.Package.Short(), "64 lower-case hex digits"},
		"a digest in capitals":     {s.Package.Hex(), strings.ToUpper(s.Package.Hex()), "64 lower-case hex digits"},
		"a digest of nothing":      {s.Package.Hex(), Digest{}.Hex(), "incomplete"},
		"a path for a name":        {`"` + s.Name + `"`, `"../x"`, "incomplete"},
		"null for a manifest":      {`"` + newer.String() + `"`, "null", "incomplete"},
		"a recipe that is no hash": {`"` + string(s.Recipe) + `"`, `"x"`, "incomplete"},
		"a predicate that is text": {`"predicate":{`, `"predicate":"x","other":{`, "predicate: "},
		"two subject lists":        {`{"_type"`, `{"subject":[],"_type"`, "stands twice"},
		"two digests": {`{"sha256"`, `{"sha256":"` + foreign.Hex() + `","sha256"`,
			"stands twice"},
		"a name in another case":         {`"predicateType"`, `"predicatetype"`, `"predicateType" is missing`},
		"a predicate's in another case":  {`"manifest"`, `"Manifest"`, `"manifest" is missing`},
		"something behind the statement": {`"}]}`, `"}]}{}`, ""},
		"no object":                      {b, `[]`, "cannot unmarshal"},
	} {
		altered := strings.Replace(b, c.old, c.new, 1)
		if altered == b {
			t.Errorf("%s: nothing was altered", name)
		}
		if got, err := DecodeStatement([]byte(altered)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestEachFieldOfAStatementIsNeeded(t *testing.T) {
	_, b := statementExample(t)
	object := func() map[string]any {
		var v map[string]any
		if err := json.Unmarshal([]byte(b), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	within := map[string]func(map[string]any) map[string]any{
		"statement": func(v map[string]any) map[string]any { return v },
		"subject":   func(v map[string]any) map[string]any { return v["subject"].([]any)[0].(map[string]any) },
		"predicate": func(v map[string]any) map[string]any { return v["predicate"].(map[string]any) },
	}
	for where, part := range within {
		for field := range maps.Keys(part(object())) {
			v := object()
			delete(part(v), field)
			cut, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeStatement(cut)
			if err == nil || !strings.Contains(err.Error(), `"`+field+`" is missing`) {
				t.Errorf("without %s of its %s: %+v, %v", field, where, got, err)
			}
		}
	}
}

func FuzzDecodeStatement(f *testing.F) {
	m, _ := draft("head", "segment", "tail")
	b, err := StatementFor(m, newer).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(strings.Replace(string(b), "predicateType", "PredicateType", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeStatement(b)
		if err != nil {
			if s != (Statement{}) {
				t.Errorf("%v, and yet %+v", err, s)
			}
			return
		}
		ours, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeStatement(ours); err != nil || back != s {
			t.Errorf("%+v becomes %+v, %v", s, back, err)
		}
	})
}
