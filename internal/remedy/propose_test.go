package remedy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changes reads "type name from to", separated by commas; a ~ before the type is
// for a package whose own version is not that of its source.
func changes(text string) []*Change {
	var out []*Change
	for part := range strings.SplitSeq(text, ", ") {
		f := strings.Fields(part)
		typ, source := strings.CutPrefix(f[0], "~")
		out = append(out, &Change{Type: typ, Name: f[1], From: f[2], To: f[3], sourceVersion: source})
	}
	return out
}

// TestPropose: each package manager is asked in its own way.
func TestPropose(t *testing.T) {
	for name, tt := range map[string]struct {
		before  string // between FROM and the instruction
		run     string
		changes string
		want    string // "" when the instruction stays
		files   string
	}{
		"apt, by name":            {"", "RUN apt-get update && apt-get install -y nginx curl && rm -rf /var/lib/apt/lists/*", "deb nginx 1.22.1-9 1.22.1-9+deb12u1", "RUN apt-get update && apt-get install -y nginx=1.22.1-9+deb12u* curl && rm -rf /var/lib/apt/lists/*", ""},
		"apt, pinned":             {"", "RUN apt-get install -y --no-install-recommends -t stable nginx=1.22.1-9", "deb nginx 1.22.1-9 1.22.1-9+deb12u1", "RUN apt-get install -y --no-install-recommends -t stable nginx=1.22.1-9+deb12u*", ""},
		"apt, a dependency":       {"", "RUN apt-get update && apt-get install -y nginx && rm -rf /var/lib/apt/lists/*", "deb libssl3 3.0.9-1 3.0.11-1~deb12u2, deb libpcre3 1 2", "RUN apt-get update && apt-get install -y nginx && apt-get install -y --only-upgrade libpcre3 libssl3 && rm -rf /var/lib/apt/lists/*", ""},
		"apt, not of its source":  {"", "RUN apt-get install -y nginx", "~deb nginx 1.22.1-9+b1 1.22.1-10", "RUN apt-get install -y nginx && apt-get install -y --only-upgrade nginx", ""},
		"apt, with sudo":          {"", "RUN sudo apt install -y nginx", "deb libssl3 3.0.9-1 3.0.11-1", "RUN sudo apt install -y nginx && sudo apt-get install -y --only-upgrade libssl3", ""},
		"apt, as JSON":            {"", `RUN ["apt-get", "install", "-y", "nginx"]`, "deb nginx 1 1.22-2", `RUN ["apt-get", "install", "-y", "nginx=1.22-*"]`, ""},
		"apt, in a loop":          {"", "RUN set -e; if true; then apt-get -y install nginx >/dev/null 2>&1; fi", "deb nginx 1 1.22-2", "RUN set -e; if true; then apt-get -y install nginx=1.22-* >/dev/null 2>&1; fi", ""},
		"apt, by a variable":      {"ARG NGINX=1.22.1-9\n", "RUN apt-get install -y nginx=${NGINX}", "deb nginx 1.22.1-9 1.22.1-10", "", ""},
		"apk, by name":            {"", "RUN apk add --no-cache -t build curl openssl", "apk openssl 3.1.0-r0 3.1.4-r1", "RUN apk add --no-cache -t build curl 'openssl>=3.1.4-r1'", ""},
		"apk, pinned":             {"", "RUN apk add --no-cache openssl=3.1.0-r0 curl~=8", "apk openssl 3.1.0-r0 3.1.4-r1, apk curl 8.0-r0 8.5.0-r0", "RUN apk add --no-cache 'openssl>=3.1.4-r1' 'curl>=8.5.0-r0'", ""},
		"apk, a dependency":       {"", "RUN apk add curl && x", "apk libssl3 3.1.0-r0 3.1.4-r1", "RUN apk add curl 'libssl3>=3.1.4-r1' && x", ""},
		"dnf":                     {"", "RUN dnf install -y --setopt install_weak_deps=0 openssl-3.0.1-1.el9 && dnf clean all", "rpm openssl 1:3.0.1-1.el9 1:3.0.7-25.el9, rpm zlib 1 2", "RUN dnf install -y --setopt install_weak_deps=0 openssl-3.0.7-* && dnf upgrade -y zlib && dnf clean all", ""},
		"microdnf":                {"", "RUN microdnf install -y curl", "rpm libcurl 1 2", "RUN microdnf install -y curl && microdnf update -y libcurl", ""},
		"zypper":                  {"", "RUN zypper -n in -y curl", "rpm curl 8.0-1 8.1-1", "RUN zypper -n in -y 'curl>=8.1-1'", ""},
		"pip, exactly":            {"", "RUN pip install --no-cache-dir requests==2.19.1 Flask_Thing", "pypi requests 2.19.1 2.31.0, pypi flask-thing 1 2.0", "RUN pip install --no-cache-dir requests==2.31.0 'Flask_Thing>=2.0'", ""},
		"pip, with extras":        {"", "RUN python3 -m pip install 'requests[socks]~=2.19'", "pypi requests 2.19.1 2.31.0", "RUN python3 -m pip install 'requests[socks]>=2.31.0'", ""},
		"pip, with bounds":        {"", "RUN pip install 'requests>=2, <3,!=2.30.0' \"jinja2<3\" 'urllib3<1.25'", "pypi requests 2.19.1 2.31.0, pypi jinja2 2.10 2.11.3, pypi urllib3 1.24 1.26.18", "RUN pip install 'requests>=2.31.0,<3,!=2.30.0' 'jinja2>=2.11.3,<3' 'urllib3>=1.26.18'", ""},
		"pip, a dependency":       {"", "RUN pip install requests", "pypi urllib3 1.24 1.26.18", "RUN pip install requests 'urllib3>=1.26.18'", ""},
		"pip, of a file":          {"", "RUN pip3 install -r requirements.txt", "pypi urllib3 1.24 1.26.18", "", "requirements.txt"},
		"npm, by name":            {"", "RUN npm install -g lodash@4.17.4 @babel/core", "npm lodash 4.17.4 4.17.21, npm @babel/core 7.0.0 7.2.0", "RUN npm install -g lodash@4.17.21 @babel/core@7.2.0", ""},
		"npm, of the lock file":   {"", "RUN npm ci --omit=dev", "npm lodash 4.17.4 4.17.21", "", "package-lock.json"},
		"npm, a dependency":       {"", "RUN npm install -g express", "npm qs 6.5.1 6.5.3", "", "package-lock.json"},
		"yarn":                    {"", "RUN yarn global add lodash@^4", "npm lodash 4.17.4 4.17.21", "RUN yarn global add lodash@4.17.21", ""},
		"gem":                     {"", "RUN gem install rails -v 5.2.3", "gem rails 5.2.3 5.2.8.1", "RUN gem install rails -v 5.2.8.1", ""},
		"gem, of several":         {"", "RUN gem install rails:5.2.3 rack", "gem rack 2.0 2.2.8", "RUN gem install rails:5.2.3 rack:2.2.8", ""},
		"bundler":                 {"", "RUN bundle install", "gem rack 2.0 2.2.8", "", "Gemfile.lock"},
		"go install":              {"", "RUN go install example.org/tool/cmd/x@v1.2.0", "golang example.org/tool v1.2.0 v1.3.0", "RUN go install example.org/tool/cmd/x@v1.3.0", ""},
		"go build":                {"", "RUN CGO_ENABLED=0 go build -o /x ./...", "golang golang.org/x/crypto v0.1.0 v0.31.0", "", "go.mod"},
		"composer":                {"", "RUN composer require symfony/http-kernel:^4.0", "composer symfony/http-kernel v4.0.1 v4.4.50", "RUN composer require symfony/http-kernel:^4.4.50", ""},
		"a tarball":               {"", "RUN curl -fsSL https://e.org/v1.2.3/tool-1.2.3.tar.gz | tar xz", "generic tool 1.2.3 1.2.9", "RUN curl -fsSL https://e.org/v1.2.9/tool-1.2.9.tar.gz | tar xz", ""},
		"a longer number":         {"", "RUN curl -fsSL https://e.org/11.2.3/1.2.34.tar.gz", "generic tool 1.2.3 1.2.9", "", ""},
		"a tarball, variable":     {"ENV TOOL 1.2.3\n", "RUN curl -fsSL https://e.org/$TOOL.tar.gz", "generic tool 1.2.3 1.2.9", "", ""},
		"ADD":                     {"", "ADD https://e.org/tool-1.2.3.tgz /opt/", "generic tool 1.2.3 1.2.9", "ADD https://e.org/tool-1.2.9.tgz /opt/", ""},
		"words that only look so": {"", "RUN echo apt-get install nginx # nginx\n", "deb nginx 1 2", "", ""},
		"in quotes":               {"", "RUN sh -c 'apt-get install nginx'", "deb nginx 1 2", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustParse(t, "FROM x\n"+tt.before+tt.run+"\n")
			list := d.Stages[0].Instructions
			c := site{file: d.text, Instruction: &list[len(list)-1], vars: d.variables(0, len(list)-1), managers: managers()}
			asked := changes(tt.changes)
			got := c.proposed(c.propose(asked).edits)
			if got == c.proposed(nil) {
				got = ""
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if asked[0].File != tt.files {
				t.Errorf("file %q, want %q", asked[0].File, tt.files)
			}
			// The history's instruction has no file and gives the same.
			if h := (site{file: tt.run, Instruction: recorded(strings.TrimSpace(tt.run)), managers: managers()}); tt.before == "" && tt.want != "" {
				if got := h.proposed(h.propose(changes(tt.changes)).edits); got != tt.want {
					t.Errorf("by the history %s", got)
				}
			}
		})
	}
}

const longDockerfile = `# syntax=docker/dockerfile:1
ARG DEBIAN=12.1
ARG NGINX=1.22.1-9

FROM debian:${DEBIAN} AS base
ARG NGINX
ENV TOOL=1.2.3 \
    OTHER="a b"
# keep this comment
RUN apt-get update && \
    # and this one
    apt-get install -y --no-install-recommends \
      nginx=${NGINX} \
      curl \
      ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN curl -fsSL https://e.org/tool-$TOOL.tgz | tar xz

FROM base AS final
RUN <<EOF
set -e
apt-get update
apt-get install -y git
rm -rf /var/lib/apt/lists/*
EOF
COPY . /app
RUN pip install \
  requests==2.19.1
CMD ["nginx"]`

const longPatched = `# syntax=docker/dockerfile:1
ARG DEBIAN=12.5
ARG NGINX=1.22.1-9+deb12u*

FROM debian:${DEBIAN} AS base
ARG NGINX
ENV TOOL=1.2.9 \
    OTHER="a b"
# keep this comment
RUN apt-get update && \
    # and this one
    apt-get install -y --no-install-recommends \
      nginx=${NGINX} \
      curl=7.88.1-10+deb12u* \
      ca-certificates && apt-get install -y --only-upgrade libssl3 \
    && rm -rf /var/lib/apt/lists/*
RUN curl -fsSL https://e.org/tool-$TOOL.tgz | tar xz

FROM base AS final
RUN <<EOF
set -e
apt-get update
apt-get install -y git=1:2.39.2-*
rm -rf /var/lib/apt/lists/*
EOF
COPY . /app
RUN pip install \
  requests==2.31.0
CMD ["nginx"]`

// longEdits are what the instructions of longDockerfile are to be changed by.
func longEdits(t *testing.T) []edit {
	d := mustParse(t, longDockerfile)
	var edits []edit
	add := func(stage, n int, text string) {
		c := site{file: d.text, Instruction: &d.Stages[stage].Instructions[n], vars: d.variables(stage, n), managers: managers()}
		edits = append(edits, c.propose(changes(text)).edits...)
	}
	e, ok := setTo(d.Stages[0].from(), "debian:12.5", d.globalVariables())
	if !ok {
		t.Fatal("the FROM can't be changed by its variable")
	}
	edits = append(edits, e)
	add(0, 3, "deb nginx 1.22.1-9 1.22.1-9+deb12u1, deb curl 1 7.88.1-10+deb12u4, deb libssl3 3 4")
	add(0, 4, "generic tool 1.2.3 1.2.9")
	add(1, 1, "deb git 1:2.30.0-1 1:2.39.2-1")
	add(1, 3, "pypi requests 2.19.1 2.31.0")
	return edits
}

// TestDiffApplies: the diff is one for patch and git, which are asked.
func TestDiffApplies(t *testing.T) {
	edits := longEdits(t)
	if diff := cmp.Diff(longPatched, applied(longDockerfile, edits)); diff != "" {
		t.Fatal(diff)
	}
	diff := unifiedDiff("build/Dockerfile", longDockerfile, edits)
	for _, command := range [][]string{{"patch", "-p1", "--fuzz=0"}, {"git", "apply"}} {
		if _, err := exec.LookPath(command[0]); err != nil {
			if os.Getenv("STRATA_TEST_REQUIRE") == "all" {
				t.Errorf("%v; scripts/test.sh installs it", err)
			}
			t.Logf("left out: %v", err)
			continue
		}
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "build"), 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "build", "Dockerfile")
		if err := os.WriteFile(file, []byte(longDockerfile), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(diff)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", command[0], err, out, diff)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(longPatched, string(got)); d != "" {
			t.Errorf("%s: %s", command[0], d)
		}
	}
	if got, err := patched(longDockerfile, diff); err != nil || got != longPatched {
		t.Errorf("the test's own patch: %v", err)
	}
}

func TestNewerTags(t *testing.T) {
	tags := []string{"latest", "12", "12.1", "12.5", "12.10", "13.0", "12.5-slim", "11.9", "bookworm", "13", "12.1.5", "20240101"}
	for tag, want := range map[string][]string{
		"12.1": {"12.10", "12.5", "13.0"}, "12": {"20240101", "13"}, "latest": nil, "12.1-slim": {"12.5-slim"}, "14.0": nil,
	} {
		if diff := cmp.Diff(want, NewerTags(tag, tags, 3)); diff != "" {
			t.Errorf("%s: %s", tag, diff)
		}
	}
}
