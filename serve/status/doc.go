// Package status is the pages of a server: where the hosts stand, for people. They only read; what is to change is
// changed by a commit, so a page shows the command instead of a button.
//
//	pages.go    which URL is which page, and for whom
//	answer.go   headers, entity tags, compression
//	assets.go   style, script and mark, by their content's hash
//	signin.go   signing in and out
//	session.go  who signed in, for how long
//	text.go     numbers, times, hashes, states and commands as the templates write them
//	chart.go    the geometry of bars and of the chart
//	links.go    the URLs of filters, sorts and pages
//	web/        templates, style, script
//
// A page is rendered from one struct of package serve/view, which is also its JSON twin.
//
// What hosts say is not trusted: html/template escapes it, package plain takes what does not print, and the content
// security policy forbids what is not in a file of our own. No page holds a secret, so compressing what a request
// puts into one (a search) tells a listener nothing.
package status
