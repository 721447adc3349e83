// Package schema holds what crosses a boundary between the parts of Bakehouse, in the standard library only, so
// that the host program can link it.
//
// The parties are reconcile (derives, bakes and signs), the store (untrusted bytes), serve (hands them out, may
// hold back, can never steer) and the agent (verifies, then installs as root). What they exchange:
//
//	Manifest    how a package is put together from literals and shared segments    bake -> store -> agent
//	Statement   what a signature key says of one package (in-toto, DSSE payload)    sign -> store -> agent
//	Target      TUF custom data of HOST/package: which package, since when, ring    sign -> store -> serve, agent
//	Policy      a TUF target: master switch, rings, revocations, sites, issued      sign -> store -> serve, agent
//	AgentConfig the baked settings of the host program                              bake -> package -> agent
//	Poll…, Register…  the two requests a host sends, and their answers              agent <-> serve
//
// Every name and path of the store, of the HTTP interface and of a host's file system stands in paths.go. Decide is
// the one function that says what a host may do now; host, server and explain all call it.
package schema
