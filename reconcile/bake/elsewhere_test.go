package bake_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// digests bakes all classes in all formats, in the given order of their names, and lists what came out in one order.
func digests(t *testing.T, reverse bool) string {
	t.Helper()
	src := repo{}
	all := classes(src)
	names := slices.Sorted(maps.Keys(all))
	formats := slices.Clone(formats)
	if reverse {
		slices.Reverse(names)
		slices.Reverse(formats)
	}
	b := bake.New(newMemory(), src)
	defer b.Close()
	var lines []string
	for _, name := range names {
		for _, format := range formats {
			if format == schema.Pkg && name == manyNames {
				continue
			}
			out, err := b.Bake(t.Context(), made(all[name], format), format, schema.DigestOf(anchor))
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("digest %q %s %s %s", name, format, out.Manifest.SHA256, out.Digest))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Other processes, since what a process took from its surroundings at its start cannot be changed in it.
func TestAnotherProcessOnAnotherHostMakesTheSameBytes(t *testing.T) {
	if os.Getenv("BAKEHOUSE_TEST_ELSEWHERE") != "" {
		fmt.Println(digests(t, true))
		return
	}
	here := digests(t, false)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	self := []string{os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v"}
	for name, elsewhere := range map[string]struct{ env, argv []string }{
		"one processor, Turkish, far east": {[]string{"GOMAXPROCS=1", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8", "TZ=Pacific/Kiritimati", "HOME=/nonexistent", "USER=nobody"}, self},
		"many, no locale, another umask": {[]string{"GOMAXPROCS=16", "LC_ALL=C", "TZ=America/Adak", "SOURCE_DATE_EPOCH=1", "GODEBUG=cpu.all=off"},
			append([]string{"sh", "-c", `umask 077; cd /; exec "$@"`, "sh"}, self...)},
		"another host": {nil, append([]string{"unshare", "--uts", "sh", "-c", `hostname elsewhere && test "$(hostname)" = elsewhere && exec "$@"`, "sh"}, self...)},
	} {
		t.Run(name, func(t *testing.T) {
			if elsewhere.argv[0] == "unshare" {
				needs.Root(t, "another host name than "+host)
			}
			cmd := exec.Command(needs.Tool(t, elsewhere.argv[0]), elsewhere.argv[1:]...)
			cmd.Env = append(os.Environ(), append(elsewhere.env, "BAKEHOUSE_TEST_ELSEWHERE=1", "TMPDIR="+t.TempDir())...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var there []string
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "digest ") {
					there = append(there, strings.TrimSpace(line))
				}
			}
			if got := strings.Join(there, "\n"); got != here {
				t.Errorf("there:\n%s\nhere:\n%s", got, here)
			}
		})
	}
}

func TestTheOrderInWhichPluginsAndFilesComeDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, src := drawRecipe(t)
		// A deep copy, shuffled, baked after another recipe that shares some of its segments.
		other := *r
		other.Outputs = nil
		for _, o := range r.Outputs {
			c := *o
			c.Files = shuffled(t, o.Files)
			other.Outputs = append(other.Outputs, &c)
		}
		other.Outputs = shuffled(t, other.Outputs)
		part := *r
		part.Outputs = r.Outputs[:len(r.Outputs)/2]
		format := rapid.SampledFrom([]schema.Format{schema.Deb, schema.Rpm, schema.Tgz}).Draw(t, "format")
		first, second := bake.New(newMemory(), src), bake.New(newMemory(), src)
		defer first.Close()
		defer second.Close()
		bakeOne := func(b *bake.Baker, r *rules.Recipe) schema.Digest {
			out, err := b.Bake(t.Context(), r, format, schema.DigestOf(anchor))
			if err != nil {
				t.Fatal(err)
			}
			return out.Digest
		}
		want := bakeOne(first, r)
		bakeOne(second, &part)
		if got := bakeOne(second, &other); got != want {
			t.Fatalf("%s: manifest %s, and %s in another order", format, want, got)
		}
	})
}

func shuffled[T fleet.File | *fleet.Output](t *rapid.T, s []T) []T {
	if len(s) < 2 {
		return s
	}
	return rapid.Permutation(s).Draw(t, "order")
}
