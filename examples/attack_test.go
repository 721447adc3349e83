package examples_test

import (
	"testing"

	"bakehouse/schema/needs"
)

// TestAttacks is the end-to-end proof of what Bakehouse says of itself: the programs that operators run (`reconcile`,
// `serve`) on a store in a folder, TLS on the loopback, and the host's updater, while somebody alters the store, stands
// between host and server, or holds keys. After each attack what runs on the host is what ran before, the refusal is of
// the class and says the words that it should, and once the store is mended the host gets the next release. Each name is
// of an attack that the project promises to withstand; the parts have tests of their own, named in brackets.
//
//	tampered segment, manifest, statement, metadata (each role, root and policy)   [agent, agent/trust, serve]
//	a valid segment swapped in the store before the next reconcile                 [reconcile/bake]
//	arbitrary install of another host's package                                    [agent, serve]
//	replayed old timestamp, snapshot, bin, root and poll answer                    [agent, agent/trust]
//	freeze past expiry; freeze of one host behind fresh timestamps                 [agent, agent/trust]
//	mix and match                                                                  [agent/trust]
//	endless data; slow loris of the server and of its clients                      [agent, serve]
//	huge counts; deep JSON, null entries, duplicate keys, wrong types              [agent/trust, schema]
//	key removed from root still signing; one key's signature counted twice         [agent/trust]
//	stolen timestamp key that signs a huge version, then recovery                  [agent/trust]
//	wrong length; two hashes; path traversal in names of targets, segments, files of an archive, packages   [agent, schema]
//	symlinked state directory; clock set to 1970 and to 2100                       [agent]
//	a site that mixes two fleets; a package whose anchor the host never verified   [agent, agent/trust]
func TestAttacks(t *testing.T) {
	needs.All(t, "attacks fleets with real servers and host programs; the parts are attacked where they are")
	t.Parallel()
	f := newFortress(t)
	for name, attack := range map[string]func(*besieged){
		"tampered segment":                            tamperedSegment,
		"tampered manifest":                           tamperedManifest,
		"tampered statement":                          tamperedStatement,
		"tampered root":                               tamperedRoot,
		"tampered timestamp":                          tamperedTimestamp,
		"tampered snapshot":                           tamperedRole("snapshot"),
		"tampered targets":                            tamperedRole("targets"),
		"tampered bin":                                tamperedRole("bin"),
		"tampered policy":                             tamperedPolicy,
		"segment swapped before the next reconcile":   swappedSegment,
		"arbitrary install of another host's package": arbitraryInstall,

		"replayed old timestamp":                     replayedTimestamp,
		"replayed old snapshot":                      replayedRole("snapshot"),
		"replayed old bin":                           replayedRole("bin"),
		"replayed old root":                          replayedRoot,
		"replayed old poll answer":                   replayedPoll,
		"freeze past expiry":                         freeze,
		"freeze of one host behind fresh timestamps": freezeOfOne,
		"mix and match":                              mixAndMatch,
		"a site that mixes two fleets":               twoFleets,

		"endless data":                     endlessData,
		"slow loris, the server":           slowServer,
		"slow loris, the server's clients": slowClients,
		"malformed answers":                malformed,
		"huge counts":                      hugeCounts,

		"key removed from root still signing":                           removedKey,
		"signature by one key counted twice":                            oneKeyTwice,
		"stolen timestamp key that signs a huge version, then recovery": stolenTimestampKey,
		"wrong length":                                   wrongLength,
		"two hashes":                                     twoHashes,
		"path traversal in the name of a target":         traversalTarget,
		"path traversal in the name of a segment":        traversalSegment,
		"path traversal in an archive":                   traversalArchive,
		"path traversal in the name of a package":        traversalPackage,
		"a package whose anchor the host never verified": foreignAnchor,

		"symlinked state directory": symlinkedState,
		"clock set to 1970":         clock1970,
		"clock set to 2100":         clock2100,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			attack(f.besiege(t))
		})
	}
}
