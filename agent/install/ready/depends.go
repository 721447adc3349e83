package ready

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema/fault"
)

// Depends says which packages of the system a deb needs and the host lacks, by the database in the directory db: dpkg
// finds out only when it has unpacked it.
func (h Host) Depends(ctx context.Context, file, db string) error {
	field, err := h.List(ctx, "dpkg-deb", "--field", file, "Depends")
	if err != nil || strings.TrimSpace(string(field)) == "" {
		return err
	}
	out, err := h.List(ctx, "dpkg-query", "--admindir="+db, "--show",
		"--showformat=${db:Status-Status}\t${Package}\t${Version}\t${Provides}\n")
	if err != nil {
		return err
	}
	has := installedDebs(string(out))
	var lacking []string
	for group := range strings.SplitSeq(string(field), ",") {
		if !slices.ContainsFunc(strings.Split(group, "|"), func(one string) bool {
			name, op, want := debRelation(one)
			return slices.ContainsFunc(has[name], func(version string) bool {
				if op == "" || version == "" {
					return op == ""
				}
				_, err := h.List(ctx, "dpkg", "--compare-versions", version, op, want)
				return err == nil
			})
		}) {
			lacking = append(lacking, strings.TrimSpace(group))
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return fault.Hint(fmt.Errorf("the package needs others that this host lacks: %s", strings.Join(lacking, ", ")),
		"install them, as with apt-get; nothing was changed, and the next update tries again")
}

// installedDebs has the versions of each name that an installed package has or provides, "" for one that is provided
// without a version. Lines are STATUS, PACKAGE, VERSION and PROVIDES, separated by tabs.
func installedDebs(list string) map[string][]string {
	has := map[string][]string{}
	for line := range strings.Lines(list) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 4 || f[0] != "installed" && f[0] != "triggers-pending" && f[0] != "triggers-awaited" {
			continue
		}
		has[f[1]] = append(has[f[1]], f[2])
		for one := range strings.SplitSeq(f[3], ",") {
			name, _, version := debRelation(one)
			has[name] = append(has[name], version)
		}
	}
	return has
}

// debRelation reads "name (op version)" or "name:any"; op and version may be missing.
func debRelation(s string) (name, op, version string) {
	name, rest, _ := strings.Cut(s, "(")
	name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
	rest, _, _ = strings.Cut(rest, ")")
	rest = strings.TrimSpace(rest)
	version = strings.TrimLeft(rest, "<=>")
	return name, rest[:len(rest)-len(version)], strings.TrimSpace(version)
}
