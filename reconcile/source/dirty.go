package source

import "bakehouse/reconcile/source/status"

// Dirty is what of the fleet's folder in the work tree is not in the commit of HEAD. A bare repository has none.
func (r *Repo) Dirty(folder string) (status.Status, error) { return status.Of(r.git, folder) }
