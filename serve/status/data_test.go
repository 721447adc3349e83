package status

import (
	"context"
	"io/fs"
	"net/url"

	"bakehouse/schema"
	"bakehouse/serve/view"
	"bakehouse/serve/view/viewtest"
)

// example answers with the made-up fleet of viewtest.
type example struct{ viewtest.All }

func testData() *example { return &example{viewtest.Example()} }

func (e *example) Fleet() string { return e.All.Overview.Fleet }

func (e *example) Overview(context.Context, schema.User) (*view.Overview, error) {
	return &e.All.Overview, nil
}

func (e *example) Hosts(_ context.Context, _ schema.User, q url.Values) (*view.HostsPage, error) {
	if q.Get("sort") == "nonsense" {
		return nil, ErrQuery
	}
	return &e.Page, nil
}

func (e *example) Host(_ context.Context, u schema.User, name string) (*view.Host, error) {
	if name != e.All.Host.Name || !u.Allows(schema.PermView, name) {
		return nil, fs.ErrNotExist
	}
	return &e.All.Host, nil
}

func (e *example) Releases(context.Context, schema.User, url.Values) (*view.Releases, error) {
	return &e.All.Releases, nil
}

func (e *example) Release(_ context.Context, _ schema.User, n int64) (*view.Release, error) {
	if n != e.All.Release.Number {
		return nil, fs.ErrNotExist
	}
	return &e.All.Release, nil
}

func (e *example) Package(_ context.Context, _ schema.User, hash string) (*view.Package, error) {
	if hash != e.All.Package.SHA256.Hex() {
		return nil, fs.ErrNotExist
	}
	return &e.All.Package, nil
}
