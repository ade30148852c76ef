# comfyvisor: build, try, test. `make help` lists the targets.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FLAGS   := -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
TOOLS   := $(CURDIR)/bin/tools
# The race detector needs a C compiler; without one the tests run without it.
RACE    := $(shell command -v $${CC:-gcc} >/dev/null 2>&1 && echo -race)
# By default a program under the race detector waits for a second before it ends.
export GORACE ?= atexit_sleep_ms=10
# Tests of the whole program wait more than they compute, and want the machine for
# themselves: one package at a time, several of its tests side by side.
ALONE   := -p 1 -parallel 8
TEST    := $(GO) test $(RACE) $(ALONE)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build bin/comfyvisor and bin/fakecomfy, both static
	CGO_ENABLED=0 $(GO) build $(FLAGS) -o bin/comfyvisor ./entrypoint
	CGO_ENABLED=0 $(GO) build $(FLAGS) -o bin/fakecomfy ./internal/comfytest/fakecomfy

.PHONY: demo
demo: build ## Run a job, kill ComfyUI in the middle of another, and leave the API running (DEMO_ONCE=1 ends by itself)
	@$(GO) run ./examples/demo

.PHONY: test-deps
test-deps: ## Install what the tests need beside Go, where it is not there: a browser, node and npm (Debian, root)
	@missing=; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing="chromium fonts-dejavu-core"; \
	command -v node >/dev/null && command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	test -z "$$missing" || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || \
	  { echo "the tests need $$missing: install them, or run make test-deps as root on Debian"; exit 1; }; \
	  apt-get update -q && apt-get install -yq --no-install-recommends $$missing; }

.PHONY: test
test: test-deps build ## Run all tests, with the race detector where there is a C compiler
	$(TEST) ./...
	$(GO) test ./internal/simulation -run '^TestSimulation$$' -count=1 -timeout 2h -sim.n=20000
	$(SOAK) -soak.jobs=3000

.PHONY: sim
sim: ## Simulate the core for long, with new seeds, until one fails: make sim N=1000000
	$(GO) test ./internal/simulation -run '^TestSimulation$$' -count=1 -v -timeout 24h -sim.n=$(or $(N),1000000) -sim.from=$(or $(SEED),0)

.PHONY: faults
faults: ## Run the tests of faults and the soak N times in a row, until one fails: make faults N=200
	$(GO) test $(ALONE) -run '^(TestFault_|TestSoakJobs)' -count=$(or $(N),200) -failfast -timeout 24h ./...

# Go's fuzzer may take the end of its own time for a failure; one without an input is
# none.
.PHONY: fuzz
fuzz: ## Run every fuzz target, each for T or so many inputs: make fuzz T=10m, make fuzz T=1000000x, make fuzz PKG=./worker
	@failed=; for p in $$($(GO) list $(or $(PKG),./...)); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "== $$p $$f"; \
	    $(GO) test $$p -run '^$$' -fuzz "^$$f\$$" -fuzztime $(or $(T),1m) -fuzzminimizetime 5x -parallel $(or $(PARALLEL),$$(nproc)) | \
	      { awk '{ last = $$0 } /Failing input/ { found = 1 } /^fuzz: elapsed/ { line = $$0; next } /^PASS|^ok/ { next } { print } /context deadline exceeded/ { late = 1 } END { print line; exit !(last ~ /^ok/ || late && !found) }'; } || failed="$$failed $$f"; \
	  done; \
	done; test -z "$$failed" || { echo "failed:$$failed; their inputs are in testdata/fuzz of the package, commit them with the mend"; exit 1; }

.PHONY: docker-test
docker-test: ## Test the images and compose files in real containers
	$(GO) test -tags docker ./deploy/dockertest -count=1 -v -timeout 30m

.PHONY: gpu-test
gpu-test: build ## Test with a real NVIDIA GPU; needs a python3 with PyTorch, aiohttp and CuPy
	$(GO) test -tags gpu ./deploy/gputest -count=1 -v -timeout 20m

# What the soak runs is the shipped binary; make test has a smaller soak with the
# race detector besides.
SOAK    := $(GO) test ./entrypoint -run '^TestSoakJobsSurviveEverything$$' -count=1 -parallel 8 -soak.pods=8 -soak.binary=$(CURDIR)/bin/comfyvisor

.PHONY: soak
soak: build ## Run the crash-recovery soak for long: make soak JOBS=100000 SEED=7
	mkdir -p out
	$(SOAK) -v -timeout 24h -soak.jobs=$(or $(JOBS),100000) -soak.seed=$(or $(SEED),0) -soak.json=$(CURDIR)/out/soak.json

.PHONY: soak-controls
soak-controls: ## Build the program without each of its defences: the soak has to fail each time
	$(GO) test ./entrypoint -run '^TestSoakNoticesWhatIsSwitchedOff$$' -count=1 -v -timeout 60m -soak.controls

.PHONY: bench
bench: ## Measure everything and write the table of docs/benchmarks.md
	$(GO) test ./entrypoint -run '^$$' -bench '^BenchmarkComfyvisor$$' -benchtime 3s -timeout 30m -bench.table
	$(GO) test -run '^$$' -bench . -benchmem $$($(GO) list ./... | grep -v /entrypoint$$)

.PHONY: growth
growth: ## Measure how cost grows, and a fleet of 1,000 simulated pods, and write docs/growth.md and its plot
	$(GO) test ./entrypoint -run '^TestGrowth$$' -count=1 -v -timeout 30m -growth
	$(GO) test ./entrypoint -run '^TestFleetKeepsToTheRules$$' -count=1 -v -timeout 30m -growth -growth.pods=1000

.PHONY: check
check: fmt vet lint test vuln ## Everything that has to pass: gofmt, vet, staticcheck, tests, govulncheck

.PHONY: fmt
fmt: ## Fail if a file is not formatted
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:"; echo "$$unformatted"; exit 1; fi

.PHONY: vet
vet: ## Run go vet
	$(GO) vet ./...
	$(GO) vet -tags docker ./deploy/dockertest

.PHONY: lint
lint: ## Run staticcheck
	@GOBIN=$(TOOLS) $(GO) install $(STATICCHECK)
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/staticcheck -tags docker ./deploy/dockertest

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the program uses
	@GOBIN=$(TOOLS) $(GO) install $(GOVULNCHECK)
	$(TOOLS)/govulncheck ./...

.PHONY: docs
docs: ## Write the generated documents anew
	$(GO) test ./entrypoint -run 'Document' -update
	$(GO) test ./internal/status -run 'Document' -update

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin out
