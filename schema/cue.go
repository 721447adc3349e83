package schema

import "embed"

// CUE is the published schema of a config repo. The host program never refers to it, so it is not linked there.
//
//go:embed *.cue
var CUE embed.FS
