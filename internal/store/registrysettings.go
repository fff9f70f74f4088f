package store

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"strata/internal/image"
)

// RegistrySettings say what of a registry is read, and how. The zero value reads all
// of a registry that has a catalogue. Globs are those of MatchName.
type RegistrySettings struct {
	// Include and Exclude are globs over the names of repositories; no Include is all.
	Include []string `json:"include,omitempty" maxItems:"1000"`
	Exclude []string `json:"exclude,omitempty" maxItems:"1000"`
	// Repositories are read in place of the catalogue, for registries without one.
	Repositories []string `json:"repositories,omitempty" maxItems:"20000"`
	// Tags and ExcludeTags are globs over tags; no Tags is all.
	Tags        []string `json:"tags,omitempty" maxItems:"1000"`
	ExcludeTags []string `json:"exclude_tags,omitempty" maxItems:"1000"`
	// Platforms of indexes that are scanned ("linux/amd64"); none is all.
	Platforms []string `json:"platforms,omitempty" maxItems:"100"`
	// CA holds certificates in PEM to trust besides the system's.
	CA string `json:"ca,omitempty" maxLength:"1000000"`
	// Insecure allows certificates that can't be verified, and plain http.
	Insecure bool `json:"insecure,omitempty"`
	// Rate bounds the requests a second of each instance; 0 is 50.
	Rate float64 `json:"rate,omitempty" minimum:"0" maximum:"10000"`
	// Parallel is how many requests a crawl has open at once; 0 is 8.
	Parallel int `json:"parallel,omitempty" minimum:"0" maximum:"100"`
	// CrawlEvery is how often it is read, as in "30m"; empty is the server's setting,
	// "0" only when it is asked for.
	CrawlEvery string `json:"crawl_every,omitempty" maxLength:"30"`
	// Owners are whom notifications go to, of the first glob that names a repository.
	Owners []RegistryOwner `json:"owners,omitempty" maxItems:"1000"`
}

// A RegistryOwner has the repositories that a glob names.
type RegistryOwner struct {
	Repositories string `json:"repositories" maxLength:"500"`
	Owner        string `json:"owner" maxLength:"300"`
}

// Wants tells whether a repository and, unless it is empty, a tag are to be read.
func (s *RegistrySettings) Wants(repository, tag string) bool {
	if len(s.Include) > 0 && !MatchName(s.Include, repository) || MatchName(s.Exclude, repository) {
		return false
	}
	if len(s.Repositories) > 0 && !MatchName(s.Repositories, repository) {
		return false
	}
	return tag == "" || (len(s.Tags) == 0 || MatchName(s.Tags, tag)) && !MatchName(s.ExcludeTags, tag)
}

// Owner of a repository; empty for nobody's.
func (s *RegistrySettings) Owner(repository string) string {
	for _, o := range s.Owners {
		if MatchName([]string{o.Repositories}, repository) {
			return o.Owner
		}
	}
	return ""
}

// Every is how often it is read, 0 for only when it is asked for.
func (s *RegistrySettings) Every(usual time.Duration) time.Duration {
	if s.CrawlEvery == "" {
		return usual
	}
	d, err := time.ParseDuration(s.CrawlEvery)
	if err != nil {
		return usual // check refuses it
	}
	return d
}

// registryName is how registries may be called: a name has no slash, so that
// "REGISTRY/REPOSITORY" is clear.
var registryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`)

// ErrInvalid is wrapped by errors about what can't be kept since it is wrong.
var ErrInvalid = errors.New("invalid")

// Check tells what of a registry is wrong, as AddRegistry does, and brings its URL to
// its form.
func (r *Registry) Check() error {
	if _, err := r.check(); err != nil {
		return fmt.Errorf("registry %q: %w", r.Name, err)
	}
	return nil
}

// check brings the URL to its form and gives the settings as they are kept.
func (r *Registry) check() (settings string, err error) {
	if !registryName.MatchString(r.Name) {
		return "", fmt.Errorf("%w: the name is letters, digits, dots, colons and dashes, at most 100", ErrInvalid)
	}
	if r.URL, err = registryURL(r.URL); err != nil {
		return "", err
	}
	if err := r.Settings.check(); err != nil {
		return "", err
	}
	text, err := json.Marshal(r.Settings)
	return string(text), err
}

// registryURL is the address of a registry; without a scheme it is https.
func registryURL(address string) (string, error) {
	full := strings.TrimSuffix(address, "/")
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("%w: URL %q: want https://HOST[:PORT], without a path or credentials", ErrInvalid, address)
	}
	return full, nil
}

func (s *RegistrySettings) check() error {
	for _, p := range s.Platforms {
		if _, err := image.ParsePlatform(p); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if s.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s.CA)) {
		return fmt.Errorf("%w: the CA holds no certificate in PEM", ErrInvalid)
	}
	if s.Rate < 0 || s.Parallel < 0 {
		return fmt.Errorf("%w: rate and parallel: want a number from 0 on", ErrInvalid)
	}
	const least = time.Minute
	if s.CrawlEvery != "" {
		d, err := time.ParseDuration(s.CrawlEvery)
		if err != nil || d != 0 && d < least {
			return fmt.Errorf("%w: crawl_every %q: want a duration of a minute or more, as in 30m, or 0", ErrInvalid, s.CrawlEvery)
		}
	}
	for _, o := range s.Owners {
		if err := CheckGlobs(o.Repositories); err != nil {
			return err
		}
	}
	return CheckGlobs(slices.Concat(s.Include, s.Exclude, s.Repositories, s.Tags, s.ExcludeTags)...)
}
