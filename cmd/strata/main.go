// Command strata scans container images, layer by layer.
package main

func main() {}
