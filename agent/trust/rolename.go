package trust

import (
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A targets role does not say in TUF which one it is: it is the file that was asked for under a name. Among roles that
// share their keys, and in a snapshot without hashes, whoever hands out files could put one bin in the place of another
// of the same version, and the hosts of that one would find, rightly signed, that the fleet has nothing for them. So
// targets and bins say their name in a signed field, which other clients skip.

// NameRole makes md say which role it is.
func NameRole(md *metadata.Metadata[metadata.TargetsType], role string) {
	md.Signed.UnrecognizedFields = map[string]any{RootField: map[string]any{"role": role}}
}

// RoleName is the role that md says it is, empty if it does not: an older bakehouse published it.
func RoleName(md *metadata.Metadata[metadata.TargetsType]) string {
	f, _ := md.Signed.UnrecognizedFields[RootField].(map[string]any)
	name, _ := f["role"].(string)
	return name
}

// isRole refuses md in another role's place. One that does not say its name is known by what it holds: targets delegates,
// and a bin lists what hashes to it.
func isRole(md, top *metadata.Metadata[metadata.TargetsType], role string) error {
	if name := RoleName(md); name == role {
		return nil
	} else if name != "" {
		return refuse("%s: it is %.80q instead", role, name)
	}
	if role == metadata.TARGETS {
		if md.Signed.Delegations == nil {
			return refuse("%s: does not delegate to hashed bins alone", targetsFile)
		}
		return nil
	}
	if md.Signed.Delegations != nil {
		return refuse("%s: a bin delegates to nobody", role)
	}
	for target := range md.Signed.Targets {
		if binOf(top, target) != role {
			return foreign(target, role)
		}
	}
	return nil
}

func foreign(target, role string) error {
	return refuse("%s: target %.80q does not belong here", role, target)
}
