package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// RemovalTrailer begins the line of a commit message that lets hosts go: "Bakehouse-Remove: hosts/web 120".
const RemovalTrailer = "Bakehouse-Remove:"

// FolderOf is the folder of a host as such a line names it.
func FolderOf(h *fleet.Host) string { return strings.TrimSuffix("hosts/"+h.Folder.Path, "/") }

// Listed maps names of hosts for which nothing is published to the hosts that the fleet still has: retired ones by
// their name, renamed ones by each former name.
type Listed map[string]*fleet.Host

// ListedIn returns those of a fleet.
func ListedIn(f *fleet.Fleet) Listed {
	l := Listed{}
	for _, h := range f.Hosts {
		if h.Retired {
			l[h.Name] = h
		}
		for _, former := range h.Was {
			l[former] = h
		}
	}
	return l
}

// Renamed reports whether a host goes on under another name.
func (l Listed) Renamed(name string) bool {
	return l[name] != nil && l[name].Name != name && !l[name].Retired
}

// Removal is such a line: exactly Count hosts at or below Folder ("hosts" is the top) are meant to go.
type Removal struct {
	Folder string
	Count  int
}

// ParseRemovals reads the lines of a commit message that are well-formed.
func ParseRemovals(message string) (out []Removal) {
	for line := range strings.Lines(message) {
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !strings.EqualFold(key+":", RemovalTrailer) || len(fields) != 2 {
			continue
		}
		folder := strings.TrimSuffix(fields[0], "/")
		n, err := strconv.Atoi(fields[1])
		if err == nil && n > 0 && (folder == "hosts" || strings.HasPrefix(folder, "hosts/")) {
			out = append(out, Removal{folder, n})
		}
	}
	return out
}

// CheckRemovals refuses to remove more than limit hosts that no line of a commit message accounts for. folders maps
// each removed host to its folder ("hosts/web"; "" if it is not known, which only a line for "hosts" covers). A line
// counts only if its number is right, so that it cannot let more go than its author saw.
func CheckRemovals(folders map[string]string, limit int, lines []Removal) error {
	covered := map[string]bool{}
	var wrong []string
	for _, l := range lines {
		var hosts []string
		for host, folder := range folders {
			if l.Folder == "hosts" || folder == l.Folder || strings.HasPrefix(folder, l.Folder+"/") {
				hosts = append(hosts, host)
			}
		}
		if len(hosts) != l.Count {
			wrong = append(wrong, fmt.Sprintf("; a commit message says %s %d, but there it is %d", l.Folder, l.Count,
				len(hosts)))
			continue
		}
		for _, host := range hosts {
			covered[host] = true
		}
	}
	count := map[string]int{}
	for host, folder := range folders {
		if !covered[host] {
			count[cmp.Or(folder, "hosts")]++
		}
	}
	total := 0
	for _, n := range count {
		total += n
	}
	if total <= limit {
		return nil
	}
	worst := slices.MaxFunc(slices.Sorted(maps.Keys(count)),
		func(a, b string) int { return cmp.Compare(count[a], count[b]) })
	if worst == "hosts" {
		count[worst] = len(folders) // it covers all below it
	}
	slices.Sort(wrong)
	return fault.Hint(fmt.Errorf("this removes %d hosts, more than the %d that limits.removed allows%s", total, limit,
		strings.Join(slices.Compact(wrong), "")),
		"if that is meant, say so in the commit's message, a line for each folder: %s %s %d", RemovalTrailer, worst,
		count[worst])
}
