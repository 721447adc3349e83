// Command bakehouse-agent stands in for the real one: it builds in a moment.
package main

var version = "dev"

func main() { println(version) }
