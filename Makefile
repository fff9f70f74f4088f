# Strata's tasks. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What is checked and tested; narrow it, as in `make test PKG=./internal/match`.
PKG ?= ./...
# How long each fuzz target runs.
FUZZTIME ?= 10s
# What `make image` makes, and the certificates of authorities that go into it.
IMAGE ?= strata
CA_FILE ?= /etc/ssl/certs/ca-certificates.crt
# The linters live in a module of their own (docs/decisions/0002-tools-module.md).
TOOL := go tool -modfile=tools/go.mod

.PHONY: help build image demo test check lint chart chart-update vuln bench bench-fleet chaos chaos-short scaling upgrade-test generate fuzz cover clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/strata, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/strata ./cmd/strata
	@scripts/static.sh bin/strata

image: build ## an image of bin/strata for this machine's container engine, named by IMAGE (strata)
	cp $(CA_FILE) bin/ca-certificates.crt
	docker build -f deploy/docker/Dockerfile --target prebuilt -t $(IMAGE) .

demo: build ## scan a small fleet of images made here, without network
	bin/strata demo

test: ## run all tests, with the registries and engines they need (as root on Debian installed)
	scripts/test.sh $(PKG)

check: ## formatting, vet, linters, known vulnerabilities, go.mod, static build
	@bad="$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' | grep -v /testdata/))"; \
	if [[ -n "$$bad" ]]; then printf 'not formatted, run gofmt -w on:\n%s\n' "$$bad"; exit 1; fi
	go vet ./...
	$(MAKE) --no-print-directory lint
	go mod tidy -diff
	$(MAKE) --no-print-directory build
	@scripts/chart.sh --changed
	$(MAKE) --no-print-directory vuln

lint: ## golangci-lint, as .golangci.yml says
	$(TOOL) golangci-lint run $(PKG)

chart: ## lint and test the Helm chart (make check does when it changed)
	scripts/chart.sh

chart-update: ## the same, and write its golden files and README.md anew
	scripts/chart.sh --update

vuln: ## look for known vulnerabilities in what Strata calls
	@scripts/vuln.sh

bench: ## measure scans against the floor: read, hash, decompress, walk
	scripts/bench.sh

bench-fleet: ## measure a fleet of 100,000 images in PostgreSQL and SQLite
	scripts/bench-fleet.sh

chaos: ## kill, pause and cut off instances, and hold what they did against a calm server
	scripts/chaos.sh $(TIMES)

chaos-short: ## the same once, in two minutes, as CI does
	scripts/chaos.sh short

scaling: ## measure one, two and three instances, and what an image and an answer cost
	scripts/scaling.sh

upgrade-test: ## run the tests of the version before (REV, by default the newest tag) on this one's tables
	scripts/upgrade-test.sh $(REV)

generate: ## write generated files anew
	go generate ./...

fuzz: ## run every fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

cover: ## test coverage by function, in dist/cover.txt and dist/cover.html
	@mkdir -p dist
	go test -coverpkg=./... -coverprofile=dist/cover.out $(PKG)
	go tool cover -func=dist/cover.out >dist/cover.txt
	go tool cover -html=dist/cover.out -o dist/cover.html
	@tail -n 1 dist/cover.txt

clean: ## remove what the tasks made
	rm -rf bin dist
