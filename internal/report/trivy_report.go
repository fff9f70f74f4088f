package report

// The types of Trivy's JSON report, schema version 2, as far as Strata fills
// them. Their fields have the names of the JSON (github.com/aquasecurity/trivy,
// pkg/types, pkg/fanal/types).

type trivyReport struct {
	SchemaVersion int
	CreatedAt     string `json:",omitempty"`
	ArtifactName  string
	ArtifactType  string
	Metadata      trivyMetadata
	Results       []trivyResult
}

type trivyMetadata struct {
	Size        int64        `json:",omitempty"`
	OS          *trivyOS     `json:",omitempty"`
	ImageID     string       `json:",omitempty"`
	DiffIDs     []string     `json:",omitempty"`
	RepoTags    []string     `json:",omitempty"`
	RepoDigests []string     `json:",omitempty"`
	ImageConfig trivyConfig  `json:"ImageConfig"`
	Layers      []trivyLayer `json:",omitempty"`
}

type trivyOS struct {
	Family string
	Name   string
	EOSL   bool `json:",omitempty"`
}

// A trivyConfig is the image's configuration, of which a report has the parts that
// tell of layers.
type trivyConfig struct {
	Architecture string         `json:"architecture"`
	OS           string         `json:"os"`
	Created      string         `json:"created,omitempty"`
	History      []trivyHistory `json:"history,omitempty"`
	RootFS       trivyRootFS    `json:"rootfs"`
	Config       trivyLabels    `json:"config"`
}

type trivyLabels struct {
	Labels map[string]string `json:"Labels,omitempty"`
}

type trivyHistory struct {
	Created   string `json:"created,omitempty"`
	CreatedBy string `json:"created_by,omitempty"`
}

type trivyRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type trivyResult struct {
	Target          string
	Class           string
	Type            string               `json:",omitempty"`
	Packages        []trivyPackage       `json:",omitempty"`
	Vulnerabilities []trivyVulnerability `json:",omitempty"`
	Licenses        []trivyLicense       `json:",omitempty"`
	Modified        []trivyModified      `json:"ExperimentalModifiedFindings,omitempty"`
}

type trivyPackage struct {
	ID         string `json:",omitempty"`
	Name       string
	Identifier trivyIdentifier
	Version    string
	Arch       string   `json:",omitempty"`
	SrcName    string   `json:",omitempty"`
	SrcVersion string   `json:",omitempty"`
	Licenses   []string `json:",omitempty"`
	Layer      trivyLayer
	FilePath   string `json:",omitempty"`
}

type trivyIdentifier struct {
	PURL string `json:",omitempty"`
	UID  string `json:",omitempty"`
}

type trivyLayer struct {
	Size      int64  `json:",omitempty"`
	Digest    string `json:",omitempty"`
	DiffID    string `json:",omitempty"`
	CreatedBy string `json:",omitempty"`
}

type trivyVulnerability struct {
	VulnerabilityID  string
	VendorIDs        []string `json:",omitempty"`
	PkgID            string   `json:",omitempty"`
	PkgName          string
	PkgPath          string `json:",omitempty"`
	PkgIdentifier    trivyIdentifier
	InstalledVersion string
	FixedVersion     string `json:",omitempty"`
	Status           string
	Layer            trivyLayer
	SeveritySource   string `json:",omitempty"`
	PrimaryURL       string `json:",omitempty"`
	Title            string `json:",omitempty"`
	Description      string `json:",omitempty"`
	Severity         string
	CVSS             map[string]trivyCVSS `json:",omitempty"`
	References       []string             `json:",omitempty"`
	PublishedDate    string               `json:",omitempty"`
}

type trivyCVSS struct {
	V2Vector  string  `json:",omitempty"`
	V3Vector  string  `json:",omitempty"`
	V40Vector string  `json:",omitempty"`
	V2Score   float64 `json:",omitempty"`
	V3Score   float64 `json:",omitempty"`
	V40Score  float64 `json:",omitempty"`
}

type trivyLicense struct {
	Severity   string
	Category   string
	PkgName    string
	FilePath   string
	Name       string
	Text       string
	Confidence float64
	Link       string
}

// A trivyModified is a finding that was set aside.
type trivyModified struct {
	Type      string
	Status    string
	Statement string
	Source    string
	Finding   trivyVulnerability
}
