// Package view is what a server answers people: structs from which the pages are rendered and which, as JSON, are the
// pages' twins at the same path with .json. Times are RFC 3339 in UTC, digests whole, states those of package hosts as
// in ?state=, names and codes those of package schema. Whatever a host claims is cleaned already.
//
//	/status.json         Overview
//	/hosts.json          HostsPage
//	/hosts/NAME.json     Host
//	/releases.json       Releases
//	/releases/N.json     Release
//	/packages/HASH.json  Package
package view
