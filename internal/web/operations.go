package web

// operationRoutes are the pages of those who run the server.
func (s *Site) operationRoutes() map[string]handler {
	return map[string]handler{
		"GET /registries":  s.registries,
		"POST /registries": s.addRegistry,
	}
}
