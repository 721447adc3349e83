// Package judge says of what a store publishes whether it follows from a reviewed commit. It takes nothing for its
// reference that the online keys signed: what they signed is what is judged.
//
// A state is judged by the state before, its release, and the commit that this names:
//
//	commit.go    the commit is on the branch, with the tree that the release names, signed if that is demanded
//	derive.go    the next state, made again by package publish from these three; of a renewal, from the state before
//	contents.go  what hosts and servers are told, field by field, against what was made again
//	roles.go     which roles were signed, their versions, expiries and bytes
//	packages.go  each package that is new, baked again from the commit, and where older candidates come from
//
// Judge walks through the states in order. It is pure but for reading git and the store, and for baking, which goes to
// an overlay of its own. Judged alike by whoever has the same repository and store, on any machine.
package judge
