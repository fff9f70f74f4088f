package web

import "strata/internal/store"

// audit lists who changed what.
func (s *Site) audit(v *visit) error {
	return showList[store.AuditEntry](v, "audit", "Audit", "/audit")
}
