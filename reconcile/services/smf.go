package services

import (
	_ "embed"
	"errors"
	"fmt"

	"bakehouse/schema/fleet"
)

//go:embed scripts/smf.sh
var smfShell string

// smfDir is where manifests of a site are imported from at boot.
const smfDir = "/lib/svc/manifest/site/"

// smfService is a manifest (smf(5), service_bundle(4)) of a service whose start method is the program itself, which the
// restarter starts again whenever it ends. An instance is made disabled: what is to run is enabled when the package is there.
func smfService(name, plugin string, s fleet.Service, command string) (Unit, error) {
	switch {
	case len(s.Listen) > 0:
		return Unit{}, errors.New("what is started for each connection (listen) is not made for solaris")
	case s.Restart != "always":
		return Unit{}, fmt.Errorf("SMF starts again whatever ends, so restart: %q cannot be had", s.Restart)
	}
	context := ""
	if s.User != "" {
		context = fmt.Sprintf("\n\t\t\t<method_context><method_credential user=\"%s\"/></method_context>\n\t\t", text(s.User))
	}
	return Unit{Name: name, Path: smfDir + name + ".xml", Text: fmt.Sprintf(`<?xml version="1.0"?>
<!DOCTYPE service_bundle SYSTEM "/usr/share/lib/xml/dtd/service_bundle.dtd.1">
<!-- Baked by Bakehouse from plugin %s. The next package replaces it. -->
<service_bundle type="manifest" name="bakehouse:%s">
	<service name="site/%s" type="service" version="1">
		<create_default_instance enabled="false"/>
		<single_instance/>
		<dependency name="network" grouping="require_all" restart_on="none" type="service">
			<service_fmri value="svc:/milestone/network:default"/>
		</dependency>
		<dependency name="filesystem" grouping="require_all" restart_on="none" type="service">
			<service_fmri value="svc:/system/filesystem/local:default"/>
		</dependency>
		<exec_method type="method" name="start" exec="%s" timeout_seconds="60">%s</exec_method>
		<exec_method type="method" name="stop" exec=":kill" timeout_seconds="%d"/>
		<property_group name="startd" type="framework">
			<propval name="duration" type="astring" value="child"/>
		</property_group>
		<stability value="Evolving"/>
		<template>
			<common_name><loctext xml:lang="C">%s</loctext></common_name>
		</template>
	</service>
</service_bundle>
`, plugin, name, name, text(smfMethod(command)), context, stopLimit(plugin), text(s.Description))}, nil
}

// smfMethod has sh run a command that is more than a program and words: the restarter's own shell puts exec in front of it.
func smfMethod(command string) string { return "/bin/sh -c " + quote(smfTokens(command)) }

// smfTokens keeps the restarter from its own tokens, such as %i.
func smfTokens(s string) string {
	var out []byte
	for i := range len(s) {
		if s[i] == '%' {
			out = append(out, '%')
		}
		out = append(out, s[i])
	}
	return string(out)
}
