package output

import (
	"errors"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// settings has the updater's settings read as hosts will read them, so that a host meets none that it refuses.
func (d *decoder) settings(out *fleet.Output, params *result.Node) {
	if d.p.Name != fleet.UpdaterPlugin {
		return
	}
	for _, f := range out.Files {
		if !schema.IsConfigFile(f.Path) {
			continue
		}
		_, err := schema.DecodeAgentConfig(f.Content)
		var field *schema.FieldError
		switch {
		case err == nil:
		case !errors.As(err, &field):
			d.refuse(nil, "%s: %v", f.Path, err)
		case field.Field == "keys" && len(d.in.Fleet.Keys) == 0: // a repo without keys yet is told so as a whole
		default:
			d.refuse(params.Get(field.Field), "%v", err)
		}
	}
}
