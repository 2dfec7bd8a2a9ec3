# ViewTCP. "make help" lists the targets; "go build ./cmd/viewtcp" works as well.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# sudo and fresh shells often lack the place where Go's own installer puts it.
ifeq (,$(shell command -v go))
export PATH := $(PATH):/usr/local/go/bin
endif

GO       ?= go
# Its cache remembers findings with the path of the file, for equal content: kept
# per work tree, or it reports of a tree that is gone.
LINT      = GOLANGCI_LINT_CACHE=$(CURDIR)/bin/lint $(GO) tool -modfile=tools/go.mod golangci-lint
VERSION  ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
# The commit's date, not today's: the same commit gives the same binary.
DATE     ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS   = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
# -buildvcs=false: the version is in LDFLAGS, and git refuses to describe a tree
# that belongs to another user.
BUILD     = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

ARGS      ?=
PKG       ?= ./...
FUZZTIME  ?= 5s
TESTFLAGS ?=
# In CI tests run with the race detector and may not skip for want of rights.
RACE       = $(if $(filter-out 0 false,$(CI)),-race)
# One package at a time: they test against one kernel, and some fill its tables
# and rings on purpose.
TEST       = $(if $(RACE),CGO_ENABLED=1 )$(GO) test -p 1 $(RACE) -timeout 20m $(TESTFLAGS)
BPF_C      = $(shell find internal -name '*.bpf.c' -o -name '*.bpf.h')
SUDO      ?= $(if $(filter 0,$(shell id -u)),env,sudo)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: ARGS (run, bench, bench-analyze, score), PKG (test, race, cover, fuzz, faults), TESTFLAGS, FUZZTIME"

.PHONY: build
build: ## build bin/viewtcp, one static binary
	@scripts/setup run
	$(BUILD) -o bin/viewtcp ./cmd/viewtcp

.PHONY: run
run: build ## start the daemon: collect, keep history, answer on 127.0.0.1:9293: viewtcp serve $(ARGS)
	exec bin/viewtcp serve $(ARGS)

.PHONY: test
test: ## vet and test everything; with -race where CI is set
	@scripts/setup test
	$(GO) vet $(PKG)
	$(TEST) $(PKG)

.PHONY: race
race: ## test everything with the race detector
	@scripts/setup race
	CGO_ENABLED=1 $(GO) test -p 1 -race -timeout 20m $(TESTFLAGS) $(PKG)

.PHONY: test-privileged
test-privileged: ## test as root; what lacks rights fails instead of skipping
	@scripts/setup test
	$(GO) test -p 1 -count=1 -timeout 20m -exec '$(SUDO) CI=true "PATH=$(PATH)"' $(TESTFLAGS) $(PKG)

.PHONY: lint
lint: ## golangci-lint and clang-format, as pinned
	@scripts/setup lint
	@if [[ -z '$(BPF_C)' ]]; then c=0; \
	elif command -v clang-format-16 >/dev/null; then (set -x; clang-format-16 --dry-run --Werror $(BPF_C)) && c=0 || c=$$?; \
	else echo 'lint: BPF C not checked: clang-format-16 is missing' >&2; c=0; fi; \
	(set -x; $(LINT) run --allow-parallel-runners $(PKG)) && exit $$c

.PHONY: fmt
fmt: ## format Go and BPF C
	@scripts/setup lint
	$(LINT) fmt $(PKG)
	@if [[ -z '$(BPF_C)' ]]; then :; \
	elif command -v clang-format-16 >/dev/null; then (set -x; clang-format-16 -i $(BPF_C)); \
	else echo 'fmt: BPF C left as it is: clang-format-16 is missing' >&2; fi

.PHONY: generate
generate: ## write BPF objects, docs/fields.md and completions again
	@scripts/setup generate
	$(GO) generate ./...

.PHONY: check-generated
check-generated: ## fail if a generated file is not what its source gives
	@scripts/setup generate
	scripts/check-generated

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (5s)
	@scripts/setup run
	scripts/fuzz $(FUZZTIME) $(PKG)

.PHONY: faults
faults: ## run the fault and load tests, those of history in full: minutes
	@scripts/setup test
	@dirs=$$($(GO) list -f '{{.ImportPath}} {{.Dir}}' $(PKG) | while read -r path dir; do \
		if grep -qs '^func TestFault' "$$dir"/*_test.go; then echo "$$path"; fi; done); \
	if [[ -z $$dirs ]]; then echo 'faults: no TestFault found' >&2; exit 1; fi; \
	set -x; VIEWTCP_LONG=1 $(TEST) -count=1 -timeout 60m -v -run '^TestFault' $$dirs

.PHONY: bench
bench: ## measure against the peers, in the same run
	@scripts/setup bench
	$(GO) run ./internal/tcptest/bench $(ARGS)

.PHONY: bench-analyze
bench-analyze: ## measure analyze over captures of 2 GB, kept until ARGS=-clean
	@scripts/setup bench
	$(GO) run ./internal/tcptest/bench -run P6 $(ARGS)

.PHONY: score
score: ## hold the analysis of packets against VIEWTCP_CAPTURES, a directory with truth/
	@scripts/setup run
	$(GO) run ./internal/tcptest/score $(ARGS)

.PHONY: bench-store
bench-store: ## measure what history costs: ARGS='-rows 10000000'
	@scripts/setup run
	$(GO) run ./internal/tcptest/bench/store $(ARGS)

.PHONY: soak
soak: ## serve under 1,000 connections a second, each held against history: ARGS='-soak 30m'
	@scripts/setup run
	$(GO) run ./internal/tcptest/bench -run soak $(ARGS)

.PHONY: bench-smoke
bench-smoke: ## run each Go benchmark once, so that none rots
	@scripts/setup run
	$(GO) test -run '^$$' -bench . -benchtime 1x $(PKG)

.PHONY: cover
cover: ## test coverage, bin/cover.html
	@scripts/setup test
	@mkdir -p bin
	$(GO) test -coverprofile bin/cover.out -coverpkg ./... $(TESTFLAGS) $(PKG)
	$(GO) tool cover -html bin/cover.out -o bin/cover.html
	@$(GO) tool cover -func bin/cover.out | tail -n 1

.PHONY: cross
cross: ## build for arm64, compile for other systems, vet on 32 bits
	@scripts/setup run
	GOOS=linux GOARCH=arm64 $(BUILD) -o bin/viewtcp-linux-arm64 ./cmd/viewtcp
	GOOS=windows GOARCH=amd64 $(BUILD) -o /dev/null ./cmd/viewtcp
	GOOS=darwin GOARCH=amd64 $(BUILD) -o /dev/null ./cmd/viewtcp
	GOOS=freebsd GOARCH=amd64 $(BUILD) -o /dev/null ./cmd/viewtcp
	CGO_ENABLED=0 GOOS=linux GOARCH=386 $(GO) vet $(PKG)

.PHONY: clean
clean: ## remove bin/
	rm -rf bin
