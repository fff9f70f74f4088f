package source

import (
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"strata/internal/image"
)

// hostPlatform is what an index is asked for by default. Images are for Linux,
// also where the host isn't.
func hostPlatform() image.Platform {
	return image.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

func platformOf(p *v1.Platform) image.Platform {
	if p == nil {
		return image.Platform{}
	}
	return image.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}

// best is the first candidate that fits the wanted platform most closely, nil
// when none does.
func best(candidates []candidate, wanted image.Platform) *candidate {
	var found *candidate
	closest := 0
	for i := range candidates {
		if n := fit(candidates[i].platform, wanted); n > closest {
			found, closest = &candidates[i], n
		}
	}
	return found
}

// fit tells how closely an image's platform is the wanted one: 0 not at all,
// more is closer. A wanted variant must be the image's; without one, the
// architecture's usual variant comes first, then the later ones.
func fit(have, wanted image.Platform) int {
	have, wanted = normal(have), normal(wanted)
	if have.OS != wanted.OS || have.Architecture != wanted.Architecture {
		return 0
	}
	usual := usualVariant[have.Architecture]
	if have.Variant == "" {
		have.Variant = usual
	}
	if wanted.Variant != "" {
		if have.Variant != wanted.Variant {
			return 0
		}
		return 1
	}
	if have.Variant == usual {
		return 1000
	}
	if len(have.Variant) == 2 && have.Variant[0] == 'v' {
		return 1 + int(have.Variant[1])
	}
	return 1
}

// usualVariant is what an architecture means when no variant is written: as in
// containerd's platforms package.
var usualVariant = map[string]string{"arm": "v7", "arm64": "v8", "amd64": "v1"}

// architectures are other names of Go's: those of uname and of Debian.
var architectures = map[string]string{
	"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "i386": "386", "ppc64el": "ppc64le",
}

func normal(p image.Platform) image.Platform {
	if p.Variant == "" && p.Architecture == "armel" {
		p.Variant = "v6"
	}
	if a, ok := architectures[p.Architecture]; ok {
		p.Architecture = a
	}
	switch {
	case p.Architecture == "arm64" && p.Variant == "8":
		p.Variant = "v8"
	case p.Architecture == "arm" && len(p.Variant) == 1:
		p.Variant = "v" + p.Variant
	}
	return p
}
