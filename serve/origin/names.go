package origin

import (
	"regexp"
	"strconv"

	"bakehouse/schema"
)

// NameNow is the present name of a host that the fleet lists under another one than this.
func (r *Release) NameNow(host string) (now string, renamed bool) {
	if _, listed := r.Hosts[host]; listed {
		return "", false
	}
	now, renamed = r.renamed[host]
	return now, renamed
}

// OtherNames are those that a host may be registered under instead: the former ones of a name of the fleet, or the
// present and the other former ones of a former one.
func (r *Release) OtherNames(host string) (names []string) {
	now, renamed := r.NameNow(host)
	if renamed {
		names = append(names, now)
	} else {
		now = host
	}
	if a := r.Hosts[now]; a != nil {
		for _, former := range a.Was {
			if _, listed := r.Hosts[former]; !listed && former != host {
				names = append(names, former)
			}
		}
	}
	return names
}

// RoleLimit is the most that a role's file may have, in bytes, and whether the host may read the role; an empty host is
// nobody.
func (r *Release) RoleLimit(role, host string) (limit int64, ok bool) {
	switch role {
	case "root":
		return schema.MaxRoot, true
	case "snapshot":
		return schema.MaxSnapshot, true
	case "targets":
		return schema.MaxTargets, true
	}
	// A host that goes under a former name has to verify the present one.
	now, renamed := r.NameNow(host)
	return schema.MaxTargets, host != "" && (role == r.BinOf(host) || renamed && role == r.BinOf(now))
}

var versioned = regexp.MustCompile(`^([1-9][0-9]{0,11})\.([a-z0-9-]{1,32})\.json$`)

// ParseName splits "7.bin-0a.json".
func ParseName(name string) (version int64, role string, ok bool) {
	m := versioned.FindStringSubmatch(name)
	if m == nil {
		return 0, "", false
	}
	version, err := strconv.ParseInt(m[1], 10, 64)
	return version, m[2], err == nil
}
