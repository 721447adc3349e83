package agent

import (
	"errors"
	"os"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// The user of a service makes a folder of its own a link to /etc: no update writes there as root, removes there or
// takes a copy from there, with dpkg neither; it fails as a condition of the host and names the link.
func TestAServicesUserCannotLeadAnUpdateToRootsFiles(t *testing.T) {
	t.Parallel()
	needs.Root(t, "giving a file away")
	const inData = "/var/lib/acme/data/passwd"
	for _, format := range []schema.Format{schema.Tgz, schema.Deb} {
		for name, has := range map[string]bool{"replaces": true, "lacks": false} {
			t.Run(string(format)+", a file that the next release "+name, func(t *testing.T) {
				needs.Alike(t)
				f, h, _ := observed(t, format, func(s *testfleet.Spec) { s.Own[inData] = "of the agent" })
				data, passwd := h.files.Path("/var/lib/acme/data"), h.files.Path("/etc/passwd")
				err := errors.Join(os.WriteFile(passwd, []byte("root"), 0o600),
					os.Rename(data, data+".old"), os.Symlink("../../../etc", data),
					os.Lchown(h.files.Path("/var/lib/acme"), 12345, 12345), os.Lchown(data, 12345, 12345))
				if err != nil {
					t.Fatal(err)
				}
				two := spec("2")
				if two.Format = format; has {
					two.Own[inData] = "of the next agent"
				}
				f.Give("web01", f.Pack(two))
				r, err := h.Update(t.Context(), UpdateOptions{})
				if err == nil || r.Code != outcome.CodeHost || !strings.Contains(r.Error, data+" leads to") ||
					!strings.Contains(r.Error, "user 12345") {
					t.Errorf("the update ended with %v: %s", err, r)
				}
				if got := h.reads("/etc/passwd"); got != "root" {
					t.Errorf("/etc/passwd is %q", got)
				}
				if got := h.reads("/var/lib/bakehouse/edited" + inData); got != "absent" {
					t.Errorf("a copy was taken: %q", got)
				}
				h.runs("1")
				if failed := h.stateOf().Failed; len(failed) > 0 {
					t.Errorf("the release was given up: %+v", failed)
				}
				if err := errors.Join(os.Remove(data), os.Rename(data+".old", data)); err != nil {
					t.Fatal(err)
				}
				if _, err := h.Update(t.Context(), UpdateOptions{Retry: true}); err != nil {
					t.Fatal(err)
				}
				h.runs("2")
			})
		}
	}
}
