// Package hosts says where each host of a fleet stands. Classify is pure: from what is signed for a host, what it last
// reported and the clock it derives one state, why, and what comes next. Table has all hosts in memory, with what
// people
// ask of them: filters, sorting, pages, counts.
package hosts
