package scripttest

import (
	"context"
	"path/filepath"
	"strings"

	"bakehouse/agent/trust/statement"

	"bakehouse/reconcile/contents"
	"bakehouse/schema"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"

	"github.com/rogpeppe/go-internal/testscript"
)

// installs RUNNING NEXT reports whether a host that runs the package RUNNING finds the signatures in the store on the package
// NEXT good enough: the two files are as `package` wrote them, and the verdict is the host program's.
func installs(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	format := schema.Format(strings.TrimPrefix(filepath.Ext(args[0]), "."))
	files, err := contents.List(format, strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	c, err := schema.DecodeAgentConfig(contents.Config(files))
	ts.Check(err)
	st, err := stores.Open(ctx, ts.MkAbs(filepath.Join(ts.Getenv("WORK"), "store")))
	ts.Check(err)
	digest := schema.DigestOf([]byte(ts.ReadFile(args[1])))
	var want schema.Statement
	for e, err := range st.List(ctx, schema.ManifestDir, "") {
		ts.Check(err)
		b, err := store.Read(ctx, st, e.Key, schema.MaxManifest)
		ts.Check(err)
		id, err := schema.ParseHex(strings.TrimSuffix(filepath.Base(e.Key), filepath.Ext(e.Key)))
		ts.Check(err)
		if m, err := schema.DecodeManifest(b, id); err == nil && m.SHA256 == digest {
			want = schema.StatementFor(m, id)
		}
	}
	envelopes, err := statements(ctx, st, want.Manifest)
	ts.Check(err)
	by, err := statement.Verify(envelopes, want, c.Keys, c.Threshold)
	ts.Logf("%s, %v", strings.Join(by, ", "), err)
	if (err != nil) != neg {
		ts.Fatalf("verified by %q: %v", by, err)
	}
}
