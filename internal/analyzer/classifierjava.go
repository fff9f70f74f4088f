package analyzer

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"strata/internal/inventory"
)

// javaRelease tells whether the file is the one in the top directory of a Java
// runtime (JEP 223, and OpenJDK's make/ReleaseFile.gmk): properties, among them
// JAVA_VERSION.
func javaRelease(c *Candidate, base string) bool {
	return base == "release" && c.Size <= maxReleaseText && bytes.Contains(c.Head, []byte("JAVA_"))
}

// javaReleasePackage names the build of OpenJDK by who made it.
func javaReleasePackage(f *File) (Result, error) {
	b, err := f.Bytes(maxReleaseText)
	if err != nil {
		return Result{}, err
	}
	var version, implementor string
	graal := false
	for line := range bytes.Lines(b) {
		key, value, _ := strings.Cut(string(bytes.TrimSpace(line)), "=")
		value = strings.Trim(value, `"`)
		switch key {
		case "JAVA_VERSION":
			version = value
		case "IMPLEMENTOR":
			implementor = value
		case "GRAALVM_VERSION":
			graal = true
		}
	}
	if !javaVersionRE.MatchString(version) {
		return Result{}, nil
	}
	c := classifier{product: javaProduct(implementor), others: javaNames(version)}
	if graal {
		c.product = "graalvm"
	}
	return Result{Packages: []inventory.Package{c.genericPackage(version)}}, nil
}

// javaVersionRE is JAVA_VERSION: 1.8.0_392, 17.0.8.1, 22, 23-ea.
var javaVersionRE = regexp.MustCompile(`^\d+(?:\.\d+)*(?:_\d+)?(?:-[\w.]+)?$`)

// javaProduct is the build's name by its IMPLEMENTOR.
func javaProduct(implementor string) string {
	switch implementor {
	case "Eclipse Adoptium", "Eclipse Foundation", "Temurin":
		return "temurin"
	case "Azul Systems, Inc.":
		return "zulu"
	case "Amazon.com Inc.":
		return "corretto"
	case "BellSoft":
		return "liberica"
	case "SAP SE":
		return "sapmachine"
	case "Microsoft":
		return "microsoft-openjdk"
	case "IBM Corporation", "International Business Machines Corporation":
		return "semeru"
	case "GraalVM Community":
		return "graalvm"
	}
	return "openjdk"
}

// javaNames are how Bitnami's advisories know a Java runtime: 1.8.0_392 is
// 8.0.392 there, and what follows the third number has no place.
func javaNames(version string) []inventory.KnownAs {
	v, _, _ := strings.Cut(version, "-")
	if rest, ok := strings.CutPrefix(v, "1."); ok {
		v = strings.ReplaceAll(rest, "_", ".")
	}
	if parts := strings.Split(v, "."); len(parts) > 3 {
		v = strings.Join(parts[:3], ".")
	}
	return []inventory.KnownAs{{Ecosystem: ecosystemBitnami, Name: "java", Version: v}}
}

// bitnamiComponents tells whether the file is one of those in which Bitnami's
// images list what they were put together from: .bitnami_components.json, and
// for each component an SPDX document.
func bitnamiComponents(p, base string) bool {
	if !strings.HasPrefix(p, bitnamiRoot) {
		return false
	}
	return base == ".bitnami_components.json" || strings.HasPrefix(base, ".spdx-") && strings.HasSuffix(base, ".spdx")
}

// bitnamiRoot is where Bitnami's images have what Bitnami built: there those
// files tell what is what, and nothing else is looked at.
const bitnamiRoot = "opt/bitnami/"

// maxBitnami limits the size of such a file.
const maxBitnami = 4 << 20

// bitnamiPackages reads either of the two.
func bitnamiPackages(f *File) (Result, error) {
	if strings.HasSuffix(f.Path, ".json") {
		var components map[string]struct {
			Version string `json:"version"`
		}
		if err := decodeJSON(f, maxBitnami, &components); err != nil {
			return Result{}, err
		}
		var out []inventory.Package
		for _, name := range slices.Sorted(maps.Keys(components)) {
			out = append(out, bitnamiPackage(name, components[name].Version))
		}
		return Result{Packages: out}, nil
	}
	b, err := f.Bytes(maxBitnami)
	if err != nil {
		return Result{}, err
	}
	var document struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"versionInfo"`
			Refs    []struct {
				Locator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &document); err != nil {
		return Result{}, nil // a document in tag-value form is not Bitnami's
	}
	var out []inventory.Package
	for _, p := range document.Packages {
		for _, r := range p.Refs {
			if strings.HasPrefix(r.Locator, "pkg:bitnami/") {
				out = append(out, bitnamiPackage(p.Name, p.Version))
				break
			}
		}
	}
	return Result{Packages: out}, nil
}

// bitnamiRevision is the number of Bitnami's own build of a version.
var bitnamiRevision = regexp.MustCompile(`-\d+$`)

// bitnamiPackage is a component by the name that Bitnami gives it, in its
// advisories too.
func bitnamiPackage(name, version string) inventory.Package {
	c := classifier{product: name, bitnami: name}
	return c.genericPackage(bitnamiRevision.ReplaceAllString(version, ""))
}
