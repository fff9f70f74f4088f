package inventory

// Paths is the listing of a layer: every path it adds, replaces or deletes.
type Paths struct{}
