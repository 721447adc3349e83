// Package rollout decides how far a release may go: ring by ring, by the gates and limits of signed policy and by what
// hosts report. It is pure. Each step takes the verdict so far, what hosts are counted as now and the time, and gives
// the next verdict; a server keeps it by release, and hands a host nothing that its verdict does not let through.
//
// A verdict can only hold back. What is signed says what a host may install, and from when; no step changes that. No
// verdict means hold. A gate that has opened for a release stays open for it; what is halted stays halted until
// somebody resumes it, and a new release begins anew.
//
// Release numbers grow, and a release has in it what those before it brought. So a host that runs a later one counts
// for an earlier one, too; a failure counts against the release that failed alone.
package rollout
