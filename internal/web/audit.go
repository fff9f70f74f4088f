package web

import (
	"net/http"

	"strata/internal/store"
)

// audit lists who changed what.
func (s *Site) audit(v *visit) error {
	p := listPage[store.AuditEntry]{URL: v.r.URL}
	if err := v.get("/audit", v.asked("cursor"), &p); err != nil {
		return err
	}
	v.show(http.StatusOK, "audit", "Audit", p)
	return nil
}
