package web

// policyRoutes are the pages of policies, watches, waivers and violations.
func (s *Site) policyRoutes() map[string]handler {
	return map[string]handler{}
}
