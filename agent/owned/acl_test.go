package owned

import "testing"

const (
	system, admins = "S-1-5-18", "S-1-5-32-544"
	users          = "S-1-5-32-545"
	me             = "S-1-5-21-1-2-3-1001"
	all            = 0x1f01ff
	readAndExecute = 0x1200a9
)

func TestADirectoryOfWindowsIsBelievedOnlyIfNobodyElseMayChangeIt(t *testing.T) {
	t.Parallel()
	own := []entry{{allows, all, system}, {allows, all, admins}}
	with := func(e entry) []entry { return append(own[:len(own):len(own)], e) }
	for name, c := range map[string]struct {
		owner    string
		unlisted bool
		entries  []entry
		believed bool
	}{
		"as it is created":             {system, false, own, true},
		"the administrators'":          {admins, false, own, true},
		"of whoever runs this":         {me, false, with(entry{allows, all, me}), true},
		"users may read":               {system, false, with(entry{allows, readAndExecute, users}), true},
		"its creators own what's new":  {system, false, with(entry{allows, 0x10000000, "S-1-3-0"}), true},
		"users are denied":             {system, false, with(entry{denies, all, users}), true},
		"nobody may do anything":       {system, false, nil, true},
		"somebody else made it before": {"S-1-5-21-1-2-3-1002", false, own, false},
		"no list":                      {system, true, nil, false},
		"users may add files":          {system, false, with(entry{allows, readAndExecute | 0x2, users}), false},
		"users may add folders":        {system, false, with(entry{allows, 0x4, users}), false},
		"users may delete":             {system, false, with(entry{allows, 0x40, users}), false},
		"users may change the list":    {system, false, with(entry{allows, 0x40000, users}), false},
		"users may take it":            {system, false, with(entry{allows, 0x80000, users}), false},
		"everybody may do all":         {system, false, with(entry{allows, 0x10000000, "S-1-1-0"}), false},
		"everybody may write":          {system, false, with(entry{allows, 0x40000000, "S-1-1-0"}), false},
		"an entry for an object":       {system, false, with(entry{5, readAndExecute, users}), false},
	} {
		if err := judge(c.owner, c.unlisted, c.entries, me); (err == nil) != c.believed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
