package passhash

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"bakehouse/schema/fault"
)

// cheap is an argon2id hash that costs next to nothing.
func cheap(password string) Hash {
	h := Hash{memory: 8, passes: 1, lanes: 1, salt: random(16), sum: make([]byte, 32)}
	h.sum = h.compute([]byte(password))
	return h
}

func TestANewHashIsThePromisedOneAndMatchesItsPasswordOnly(t *testing.T) {
	password := strings.Repeat("p", MaxLen)
	h, err := New([]byte(password))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(h.String(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s", h)
	}
	again, err := Parse(h.String())
	if err != nil || again.String() != h.String() {
		t.Fatalf("%s is read as %s, %v", h, again, err)
	}
	if !again.Matches([]byte(password)) || again.Matches([]byte(password[1:])) || again.Matches([]byte(password+"p")) {
		t.Error("it does not match its password, or another one")
	}
	other, err := New([]byte(password))
	if err != nil || other.String() == h.String() {
		t.Errorf("the same salt twice, or %v", err)
	}
	if _, err := New([]byte(password + "p")); err == nil || fault.HintOf(err) == "" {
		t.Errorf("a password over the bound: %v", err)
	}
}

// Made by the program of the reference implementation, and by libcrypt.
func TestTheHashesOfOtherProgramsMatch(t *testing.T) {
	for _, s := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$oVLnFW4Vdd+KZaNyuHNZYDlTeeRDSkyoACLFGAAhgLc",
		"$argon2id$v=19$m=4096,t=3,p=4$c29tZXNhbHQxMjM0NTY3OA$6/Vj3/MZsG8uQ4wgx22ZlVLDsihSZ09Yfm1yM0dXhVY",
		"$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
	} {
		h, err := Parse(s)
		if err != nil || !h.Matches([]byte("correct horse")) || h.Matches([]byte("correct horse ")) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestEachFormOfBcryptMatchesWithinItsLength(t *testing.T) {
	made, err := bcrypt.GenerateFromPassword([]byte("a password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"$2a$", "$2b$", "$2y$"} {
		h, err := Parse(kind + string(made[4:]))
		if err != nil || !h.Matches([]byte("a password")) || h.Matches([]byte("another")) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	long := strings.Repeat("p", maxBcrypt)
	if made, err = bcrypt.GenerateFromPassword([]byte(long), bcrypt.MinCost); err != nil {
		t.Fatal(err)
	}
	h, err := Parse(string(made))
	if err != nil || !h.Matches([]byte(long)) || h.Matches([]byte(long+"p")) {
		t.Errorf("a password beyond what bcrypt reads matches, or %v", err)
	}
}

func TestWhatAServerWouldNotComputeIsRefusedAndNotQuoted(t *testing.T) {
	good := cheap("x").String()
	_, tail, _ := strings.Cut(good, "p=1")
	with := func(params string) string { return "$argon2id$v=19$" + params + tail }
	blowfish := "." + strings.Repeat("x", 52)
	for name, s := range map[string]string{
		"empty": "", "a password": "correct horse", "md5": "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
		"argon2i":                strings.Replace(good, "argon2id", "argon2i", 1),
		"another version":        strings.Replace(good, "v=19", "v=16", 1),
		"no version":             strings.Replace(good, "v=19$", "", 1),
		"too much memory":        with("m=65537,t=1,p=1"),
		"too many passes":        with("m=65536,t=4,p=1"),
		"too many passes of 8":   with("m=8,t=999999999,p=1"),
		"too many lanes":         with("m=64,t=1,p=5"),
		"wraps around":           with("m=4294967304,t=1,p=1"),
		"less memory than lanes": with("m=31,t=1,p=4"),
		"no passes":              with("m=8,t=0,p=1"),
		"another order":          with("t=1,m=8,p=1"),
		"more parameters":        with("m=8,t=1,p=1,data=AAAA"),
		"padded":                 good + "=",
		"no sum":                 good[:strings.LastIndexByte(good, '$')],
		"a short salt":           "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$" + good[strings.LastIndexByte(good, '$')+1:],
		"a short sum":            good[:strings.LastIndexByte(good, '$')+1] + "c2FsdA",
		"a long sum":             good + strings.Repeat("AAAA", 20),
		"two lines":              good + "\n",
		"a line break within":    good[:len(good)-4] + "\n" + good[len(good)-4:],
		"bcrypt, too costly":     "$2y$15$" + blowfish,
		"bcrypt, far too costly": "$2a$31$" + blowfish,
		"bcrypt, too cheap":      "$2a$03$" + blowfish,
		"bcrypt, cut short":      "$2a$10$" + blowfish[1:],
		"bcrypt of the bug":      "$2x$10$" + blowfish,
	} {
		h, err := Parse(s)
		if err == nil || fault.HintOf(err) == "" {
			t.Errorf("%s: %s is accepted as %s, or without a hint: %v", name, s, h, err)
		} else if len(s) > 8 && strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
	for _, s := range []string{good, with("m=65536,t=3,p=4"), with("m=47104,t=1,p=1"), "$2b$14$" + blowfish} {
		if _, err := Parse(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestADecoyIsOfTheSameKindAndMatchesNothing(t *testing.T) {
	made, err := bcrypt.GenerateFromPassword([]byte("p"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(string(made))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []Hash{cheap("p"), b} {
		d, err := Parse(h.Decoy().String())
		if err != nil {
			t.Fatal(err)
		}
		if d.Work() != h.Work() || d.String() == h.String() || d.Matches([]byte("p")) {
			t.Errorf("decoy %s of %s", d, h)
		}
		if d.memory == 0 {
			// An error other than a mismatch would come before any work.
			err := bcrypt.CompareHashAndPassword(d.bcrypt, []byte("p"))
			if !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
				t.Error(err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(cheap("x").String())
	f.Add("$2a$04$" + strings.Repeat("x", 53))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Parse(s)
		if err != nil {
			return
		}
		if h.String() != s {
			t.Fatalf("%q is read as %q", s, h)
		}
		if h.memory > maxMemory || h.memory*h.passes > maxWork || h.cost > maxCost {
			t.Fatalf("%q costs too much", s)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	h, err := New([]byte("correct horse"))
	if err != nil {
		b.Fatal(err)
	}
	made, err := bcrypt.GenerateFromPassword([]byte("correct horse"), 12)
	if err != nil {
		b.Fatal(err)
	}
	old, err := Parse(string(made))
	if err != nil {
		b.Fatal(err)
	}
	most, err := Parse("$argon2id$v=19$m=65536,t=3,p=4" + h.String()[len("$argon2id$v=19$m=19456,t=2,p=1"):])
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		Hash
	}{{"argon2id", h}, {"bcrypt12", old}, {"argon2id-most", most}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Matches([]byte("correct horse"))
			}
		})
	}
}
