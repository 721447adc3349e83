package evaluate

import (
	"fmt"
	"path"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// clauses are the package clauses of a directory's files.
type clauses struct {
	name string
	at   []fleet.Pos
}

// refuseClauses refuses a directory that has an ancestor's package name, because cue would merge the ancestor's files
// into it. Those evaluated before are in names, and it adds the jobs'.
func refuseClauses(jobs []*job, names map[string]clauses) {
	for _, j := range jobs {
		if j.done != nil && j.done.Package != "" {
			names[j.path] = clauses{j.done.Package, j.done.Clauses}
		}
	}
	for _, j := range jobs {
		own := names[j.path]
		if own.name == "" || j.fsys == shipped {
			continue // what is shipped has nothing above it
		}
		for at := j.path; at != "."; {
			at = path.Dir(at)
			if up := names[at]; up.name == own.name {
				for _, clause := range own.at {
					j.ps = append(j.ps, fleet.Problem{Pos: clause,
						Msg: fmt.Sprintf("package %s is also the package of a directory above, "+
							"whose files cue would merge into this one", own.name),
						Hint: fmt.Sprintf("say `package %s`, or any other name", freeName(j, names)),
						Also: []fleet.Pos{up.at[0]}})
				}
			}
		}
	}
}

// freeName is a package name for j's directory that no directory above has.
func freeName(j *job, names map[string]clauses) string {
	name := result.PackageFor(j.path + "/x")
	for at := j.path; at != "."; {
		at = path.Dir(at)
		if up := names[at]; up.name == name {
			name += "_" + result.PackageFor(at+"/x")
			at = j.path
		}
	}
	return name
}
