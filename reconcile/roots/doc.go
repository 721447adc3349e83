// Package roots has the root of trust of a fleet: trust/N.root.json in the repo, a chain in which each root says
// which keys sign which role, and is signed by enough keys of the one before and of its own.
//
// People make it, in a Ceremony over commits: the root that follows from keys/, then a signature by each of those who
// have to, then the merge. Until it has them all, nothing is published under it. A Chain is what trust/ holds and who
// has signed it; Diff is what one root changes of the one before; Verify and Agree are what reconcile asks before it
// publishes. A store's copy of a root is never read here.
package roots
