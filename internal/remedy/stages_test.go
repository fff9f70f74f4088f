package remedy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strata/internal/image"
)

// planned against a Dockerfile: what the diff makes of it.
func TestPlanChangesTheDockerfile(t *testing.T) {
	db := flawsOf("CVE-1 high Debian:12/openssl 0 3.0.11-1", "CVE-2 high PyPI/requests 0 2.31.0", "CVE-3 low npm/lodash 0 4.17.21", "CVE-4 high Go/stdlib 0 1.20.8", "CVE-5 high Debian:12/nginx 0 1.22.2-1")
	for name, tt := range map[string]struct {
		dockerfile string
		target     string
		layers     []string // of the image's own
		packages   []string
		tag        string // a candidate of that tag has nothing
		user       string // of the base
		byHistory  bool   // tells it
		want       string // the Dockerfile then
		notes      []string
	}{
		"a stage that is copied from": {
			"FROM golang:1.20.3-bookworm AS build\nRUN go build -o /api .\nFROM python:3 AS deps\nRUN pip install requests==2.19.1\nFROM debian:12.1\nCOPY --from=build /api /api\nCOPY --from=deps /usr/lib/python3 /usr/lib/python3\n",
			"", []string{"COPY /api /api # buildkit", "COPY /usr/lib/python3 /usr/lib/python3 # buildkit"},
			[]string{"1 golang stdlib 1.20.3", "2 pypi requests 2.19.1"}, "", "", false,
			"FROM golang:1.20.8-bookworm AS build\nRUN go build -o /api .\nFROM python:3 AS deps\nRUN pip install requests==2.31.0\nFROM debian:12.1\nCOPY --from=build /api /api\nCOPY --from=deps /usr/lib/python3 /usr/lib/python3\n", nil},
		"the base, by a variable and a digest": {
			"ARG TAG=12.1\nFROM debian:${TAG}\nRUN x\n", "", []string{"RUN x"}, []string{"0 deb openssl 3.0.9-1"}, "12.5", "", false,
			"ARG TAG=12.5\nFROM debian:${TAG}\nRUN x\n", nil},
		"a version that a lock file decides": {
			"FROM debian:12.1\nRUN npm ci\n", "", []string{"RUN npm ci"}, []string{"1 npm lodash 4.17.4"}, "", "", false, "FROM debian:12.1\nRUN npm ci\n",
			[]string{"no line of Dockerfile changes, so there is no diff: each step says where its versions are decided"}},
		"the base of a stage below": {
			"FROM docker.io/library/debian:12.1 AS one\nFROM one AS two\nRUN x\nFROM alpine AS three\n", "two", []string{"RUN x"}, []string{"0 deb openssl 3.0.9-1"}, "12.5", "", false,
			"FROM docker.io/library/debian:12.5 AS one\nFROM one AS two\nRUN x\nFROM alpine AS three\n", nil},
		"another base than was recognised": {
			"FROM corp/base:1\nRUN x\n", "", []string{"RUN x"}, []string{"0 deb openssl 3.0.9-1"}, "12.5", "", false, "FROM corp/base:1\nRUN x\n", nil},
		"an upgrade of what the base brought": {
			"FROM debian:12.1\r\nRUN x\r\n", "", []string{"RUN x"}, []string{"0 deb openssl 3.0.9-1", "0 deb apt 1"}, "", "", false,
			"FROM debian:12.1\r\nRUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/*\r\nRUN x\r\n", nil},
		"the same, at the end of the file, for another user": {
			"FROM debian:12.1", "", nil, []string{"0 deb openssl 3.0.9-1", "0 deb apt 1"}, "", "app:app", false,
			"FROM debian:12.1\nUSER root\nRUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/*\nUSER app:app", nil},
		"packages that came as files, upon scratch": {
			"FROM scratch\nADD rootfs.tar /\nRUN x\n", "", []string{"ADD rootfs.tar /", "RUN x"}, []string{"1 deb openssl 3.0.9-1", "1 deb apt 1"}, "", "", false,
			"FROM scratch\nADD rootfs.tar /\nRUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/*\nRUN x\n", nil},
		"a user that only the history tells": {
			"FROM debian:12.1\n", "", nil, []string{"0 deb openssl 3.0.9-1", "0 deb apt 1"}, "", "1000", true,
			"FROM debian:12.1\nUSER root\nRUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/*\nUSER 1000\n", nil},
		"a Dockerfile of another image": {
			"FROM debian:12.1\nRUN y\n", "", []string{"RUN apt-get install -y nginx"}, []string{"1 deb nginx 1.22.1-9"}, "", "", false,
			"FROM debian:12.1\nRUN y\n", []string{"no layer of the image was made by an instruction of Dockerfile as it is: was the image built from it? (--target tells the stage)"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{Image: layered(1, append([]string{"ADD rootfs"}, tt.layers...)...), Inventory: packages(tt.packages...), Dockerfile: mustParse(t, tt.dockerfile), Target: tt.target}
			if tt.user != "" {
				in.Image.History = []image.Step{{CreatedBy: "ADD rootfs"}, {CreatedBy: "USER " + tt.user, Empty: true}}
				if in.Image.Base.User = tt.user; tt.byHistory {
					in.Image.Base.User = ""
				}
			}
			in.Match = find(t, in.Inventory, db)
			if tt.tag != "" {
				in.Candidates = []Candidate{candidate(t, tt.tag, "12", db)}
			}
			p := mustPlan(t, in)
			got, err := patched(tt.dockerfile, p.Diff)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s\n%s", diff, strings.Join(brief(p), "\n"))
			}
			if diff := cmp.Diff(tt.notes, p.Notes); diff != "" {
				t.Error(diff)
			}
			holds(t, in, p, db)
		})
	}
	if _, err := New(Input{Image: layered(0), Inventory: packages(), Match: find(t, packages(), db), Dockerfile: mustParse(t, "FROM x AS a"), Target: "b"}); err == nil {
		t.Error("a stage that is not there is no error")
	}
}

// The layers of a real build are found, by whichever builder.
func TestAlign(t *testing.T) {
	d := mustParse(t, "FROM x\nARG V=1\nRUN apt-get update && \\\n    apt-get install -y \\\n  # comment\n  nginx\nENV A=b\nWORKDIR /app\nCOPY --chown=1:1 a$V ./b\nRUN [\"x\", \"y z\"]\nRUN <<EOF\none\ntwo\nEOF\nADD c /d/\nRUN --mount=type=cache,target=/x pip install y\nRUN never\n")
	own := func(by ...string) []image.Layer { return layered(0, by...).Layers }
	for name, layers := range map[string][]image.Layer{
		"BuildKit": own("RUN |1 V=1 /bin/sh -c apt-get update &&     apt-get install -y   nginx # buildkit", "WORKDIR /app", "COPY --chown=1:1 a1 ./b # buildkit", "RUN |1 V=1 x y z # buildkit",
			"RUN /bin/sh -c one\ntwo\n # buildkit", "ADD c /d/ # buildkit", "RUN /bin/sh -c pip install y # buildkit"),
		"classic": own("|1 V=1 /bin/sh -c apt-get update &&     apt-get install -y   nginx", "/bin/sh -c #(nop) WORKDIR /app", "/bin/sh -c #(nop) COPY --chown=1:1 file:5b1e in ./b ", "x y z",
			"/bin/sh -c one\ntwo\n", "/bin/sh -c #(nop) ADD file:77 in /d/ ", "/bin/sh -c pip install y"),
	} {
		var lines []int
		found := d.align(0, layers)
		for i := range layers {
			line := 0
			if at, ok := found[i]; ok {
				line = d.Stages[at.stage].Instructions[at.n].Line
			}
			lines = append(lines, line)
		}
		want := []int{3, 8, 9, 10, 11, 15, 16}
		if name == "classic" {
			want[3] = 0 // it writes no RUN before what no shell runs
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestHostileNames: what an image calls its packages and users is no command in
// its user's Dockerfile.
func TestHostileNames(t *testing.T) {
	const evil = "$(evil)"
	for _, run := range []string{"RUN apt-get install -y nginx", "RUN apk add nginx", "RUN pip install nginx", `RUN ["apt-get", "install", "nginx"]`, "RUN npm install nginx", "RUN curl https://e.org/1.2.3"} {
		d := mustParse(t, "FROM debian:12.1\n"+run+"\n")
		var bad []*Change
		for _, typ := range []string{"deb", "apk", "pypi", "npm", "generic"} {
			bad = append(bad, &Change{Type: typ, Name: evil, From: "1.2.3", To: "1.2.4"}, &Change{Type: typ, Name: "nginx", From: "1.2.3", To: evil}, &Change{Type: typ, Name: "-o=x", From: "1.2.3", To: "1"},
				&Change{Type: typ, Name: "a b\nRUN c", From: "1.2.3", To: "1"})
		}
		c := site{file: d.text, Instruction: &d.Stages[0].Instructions[1], managers: managers()}
		if made := c.propose(bad); len(made.edits) > 0 {
			t.Errorf("%s: edits %+v", run, made.edits)
		}
	}
	db := flawsOf("CVE-1 high Debian:12/$(evil) 0 3", "CVE-2 high Debian:12/openssl 0 3")
	inv := packages("0 deb $(evil) 1", "0 deb openssl 1", "0 deb apt 1")
	in := Input{Image: layered(1, "ADD rootfs", "RUN x"), Inventory: inv, Match: find(t, inv, db), Dockerfile: mustParse(t, "FROM debian:12.1\nRUN x\n")}
	in.Image.Base.User = "a:b\nRUN " + evil
	p := mustPlan(t, in)
	if strings.Contains(p.Diff, evil) || !strings.Contains(p.Diff, "--only-upgrade openssl ") {
		t.Errorf("diff:\n%s", p.Diff)
	}
	holds(t, in, p, db)
}

func TestProjectCommand(t *testing.T) {
	for file, want := range map[string]string{
		"go.mod":            "go get a.org/x@v1.2.3 a.org/y@v2.0.0 && go mod tidy",
		"composer.lock":     "composer require --update-with-all-dependencies 'a.org/x:^1.2.3' 'a.org/y:^2.0.0'",
		"Cargo.lock":        "cargo update -p a.org/x@v1.0.0 --precise v1.2.3 && cargo update -p a.org/y@1 --precise 2.0.0",
		"requirements.txt":  "pip install --upgrade 'a.org/x>=v1.2.3' 'a.org/y>=2.0.0'",
		"package-lock.json": "",
	} {
		if got := projectCommand(file, changes("x a.org/y 1 2.0.0, x a.org/x v1.0.0 v1.2.3, x $(evil) 1 2")); got != want {
			t.Errorf("%s: %s", file, got)
		}
	}
}
