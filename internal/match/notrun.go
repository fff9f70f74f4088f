package match

import (
	"strings"

	"strata/internal/inventory"
)

// NotRun is Suppression.By of packages whose files do not run in a container.
const NotRun = "not-run"

// A notRunRule names packages of distributions that a container does not run.
type notRunRule struct {
	// types are the package types; names the packages, with * for any ending.
	types, names []string
	// reason is a sentence for the reader.
	reason string
}

const (
	headersDontRun  = "headers of a kernel: nothing in them runs, and the kernel of a container is the host's"
	kernelDoesntRun = "a kernel, or modules of one: the kernel of a container is the host's"
	firmwareIsHosts = "firmware: it is the host's kernel that loads firmware"
)

// notRunRules is the table of such packages. What talks to the kernel runs (perf,
// cpupower), and stays.
func notRunRules() []notRunRule {
	return []notRunRule{
		{[]string{"deb"}, []string{"linux-libc-dev", "linux-libc-dev-*", "linux-headers-*", "linux-kbuild-*", "linux-source*", "linux-doc*", "linux-compiler-gcc-*", "linux-config-*"}, headersDontRun},
		{[]string{"deb"}, []string{"linux-image-*", "linux-image", "linux-modules-*", "linux-generic*", "linux-virtual*"}, kernelDoesntRun},
		{[]string{"deb"}, []string{"linux-firmware", "firmware-linux*", "firmware-misc-nonfree", "firmware-iwlwifi", "firmware-realtek", "firmware-atheros", "firmware-amd-graphics", "intel-microcode", "amd64-microcode"}, firmwareIsHosts},
		{[]string{"rpm"}, []string{"kernel-headers", "kernel-devel*", "kernel-source*", "kernel-doc*", "kernel-macros", "kernel-uek-devel*", "kernel-uek-headers", "kernel-default-devel*", "linux-glibc-devel", "kernel-cross-headers", "glibc-kernheaders"}, headersDontRun},
		{[]string{"rpm"}, []string{"kernel", "kernel-core", "kernel-modules*", "kernel-debug*", "kernel-rt*", "kernel-uek*", "kernel-lt", "kernel-ml", "kernel-default*", "kernel-64k*", "kernel-zfcpdump*"}, kernelDoesntRun},
		{[]string{"rpm"}, []string{"linux-firmware*", "kernel-firmware*", "microcode_ctl", "ucode-intel", "ucode-amd", "iwl*-firmware"}, firmwareIsHosts},
		{[]string{"apk"}, []string{"linux-headers", "linux-lts-dev", "linux-virt-dev", "linux-edge*-dev", "linux-stable-dev", "linux-rpi*-dev", "linux-openpax-dev", "linux-asahi-dev", "linux-elm-dev", "linux-gru-dev"}, headersDontRun},
		{[]string{"apk"}, []string{"linux-lts", "linux-virt", "linux-edge", "linux-rpi*", "linux-openpax"}, kernelDoesntRun},
		{[]string{"apk"}, []string{"linux-firmware*", "intel-ucode", "amd-ucode"}, firmwareIsHosts},
		{[]string{"alpm"}, []string{"linux-api-headers", "linux-headers"}, headersDontRun},
		{[]string{"alpm"}, []string{"linux", "linux-lts", "linux-zen", "linux-hardened"}, kernelDoesntRun},
		{[]string{"alpm"}, []string{"linux-firmware*"}, firmwareIsHosts},
	}
}

// notRun is the reason why a package's vulnerabilities can't be used in a
// container; empty when there is none.
func notRun(p *inventory.Package) string {
	if !p.Distribution() || !strings.Contains(p.Name, "linux") && !strings.Contains(p.Name, "kern") && !strings.Contains(p.Name, "firmware") && !strings.Contains(p.Name, "code") {
		return ""
	}
	for _, r := range notRunRules() {
		for _, typ := range r.types {
			if typ != p.Type {
				continue
			}
			for _, name := range r.names {
				if nameMatches(name, p.Name) {
					return r.reason
				}
			}
		}
	}
	return ""
}

// nameMatches tells whether a name is as the pattern, which may have one *.
func nameMatches(pattern, name string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return name == pattern
	}
	return len(name) >= len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}
