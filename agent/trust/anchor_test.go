package trust

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func TestHostMovedToAnotherFleet(t *testing.T) {
	r, dir, _ := seen(t)
	other := newRepo(t)
	other.mustUpdate(dir, "web01", "web01 first") // version 1 of all, below what the host has seen
	c := other.open(dir)
	if c.HasRoot(schema.DigestOf(r.Anchor)) {
		t.Error("the old fleet's root is still trusted")
	}
	if root, stamp := c.Versions(); root != 1 || stamp != 1 {
		t.Errorf("root %d, timestamp %d", root, stamp)
	}
}

func TestOlderAnchorDoesNotRollTheRootBack(t *testing.T) {
	r, dir, _ := seen(t)
	r.rotate("timestamp")
	r.Release()
	r.mustUpdate(dir, "web01", "web01 second")
	delete(r.Files, "2.root.json") // a rolled-back package brings root 1 again, and the server hides root 2
	c, err := Open(dir, r.Anchor, r.clock)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Versions(); v != 2 {
		t.Errorf("root version %d", v)
	}
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Error(err)
	}
}

func TestNewerAnchorIsTaken(t *testing.T) {
	r, dir, _ := seen(t)
	for range 3 {
		r.rotate("timestamp")
	}
	r.Release()
	c, err := Open(dir, r.Files["4.root.json"], r.clock)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"2.root.json", "3.root.json"} {
		delete(r.Files, gone)
	}
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Error(err)
	}
	if !c.HasRoot(schema.DigestOf(r.Anchor)) || !c.HasRoot(schema.DigestOf(r.Files["4.root.json"])) {
		t.Error("the chain lost a root")
	}
}

func TestDamagedAnchorSaysWhatToDo(t *testing.T) {
	r := newRepo(t)
	for _, b := range [][]byte{nil, []byte("{}"), r.Anchor[:200],
		bytes.Replace(r.Anchor, []byte(`"bins":4`), []byte(`"bins":8`), 1)} {
		_, err := Open("", b, r.clock)
		if err == nil || !strings.Contains(fmt.Sprint(err), "anchor root") || fault.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	}
}

func TestAnchorWithAKeyOfTheWrongLengthDoesNotPanic(t *testing.T) {
	for _, names := range []*strings.Replacer{strings.NewReplacer(),
		strings.NewReplacer("keytype", "KeyType", "keyval", "KeyVal", "public", "Public")} {
		body := names.Replace(`{"signed":{"_type":"root","version":1,"keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"abcd"}}},` +
			`"roles":{"root":{"keyids":["a"],"threshold":1}}},"signatures":[{"keyid":"a","sig":"ab"}]}`)
		_, err := Open("", []byte(body), nil)
		refused(t, err, "key a has the wrong length")
	}
}
