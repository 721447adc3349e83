package schema

// Levels of findings.
const (
	LevelHolds   = "holds"   // what is asked for is there
	LevelSoon    = "soon"    // it will not be for long: a key or a certificate ends within its warning time
	LevelMissing = "missing" // it is not, and somebody has to do something
)

// Finding is one thing that a fleet needs in order to work, and whether it is there. Pages and commands print the same.
type Finding struct {
	Code   string `json:"code"`   // which: the same for as long as the thing is asked for
	Level  string `json:"level"`  // a Level… constant
	Title  string `json:"title"`  // what should hold, such as "All hosts are registered"
	Detail string `json:"detail"` // what is there: numbers first
	Fix    string `json:"fix,omitempty"`
	// Command is the fix as a command line without a prompt; OnHost says that it is for root on a host. Link is where
	// more of it is shown, a path with a query below the server's URL.
	Command string `json:"command,omitempty"`
	OnHost  bool   `json:"onHost,omitempty"`
	Link    string `json:"link,omitempty"`
}
