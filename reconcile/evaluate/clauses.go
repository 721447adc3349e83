package evaluate

import (
	"fmt"
	"path"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// refuseClauses refuses a directory that has an ancestor's package name, because cue would merge the ancestor's files
// into it.
func refuseClauses(jobs []*job) {
	names := map[string]*result.Directory{}
	for _, j := range jobs {
		if j.done != nil && j.done.Package != "" {
			names[j.path] = j.done
		}
	}
	for _, j := range jobs {
		for at := j.path; names[j.path] != nil && at != "."; {
			at = path.Dir(at)
			if up := names[at]; up != nil && up.Package == j.done.Package {
				for _, clause := range j.done.Clauses {
					j.ps = append(j.ps, fleet.Problem{Pos: clause,
						Msg: fmt.Sprintf("package %s is also the package of a folder above, whose files cue would merge into this one",
							j.done.Package),
						Hint: fmt.Sprintf("say `package %s`, or any other name", freeName(j, names)), Also: []fleet.Pos{up.Clauses[0]}})
				}
			}
		}
	}
}

// freeName is a package name for j's directory that no folder above has.
func freeName(j *job, names map[string]*result.Directory) string {
	name := result.PackageFor(j.path + "/x")
	for at := j.path; at != "."; {
		at = path.Dir(at)
		if up := names[at]; up != nil && up.Package == name {
			name += "_" + result.PackageFor(at+"/x")
			at = j.path
		}
	}
	return name
}
