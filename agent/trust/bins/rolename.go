package bins

import "github.com/theupdateframework/go-tuf/v2/metadata"

// A targets role does not say in TUF which one it is: it is the file that was asked for under a name. Among roles that
// share their keys, and in a snapshot without hashes, whoever hands out files could put one bin in the place of another
// of the same version, and the hosts of that one would find, rightly signed, that the fleet has nothing for them. So
// targets and bins say their name in a signed field, which other clients skip.

// Field is the signed field in which a role of a fleet says its name, as {"role": NAME}.
const Field = "bakehouse"

// NameRole makes md say which role it is.
func NameRole(md *metadata.Metadata[metadata.TargetsType], role string) {
	md.Signed.UnrecognizedFields = map[string]any{Field: map[string]any{"role": role}}
}

// RoleName is the role that md says it is, empty if it does not.
func RoleName(md *metadata.Metadata[metadata.TargetsType]) string {
	f, _ := md.Signed.UnrecognizedFields[Field].(map[string]any)
	name, _ := f["role"].(string)
	return name
}
