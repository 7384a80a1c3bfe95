# Everything a person types: `make up` to serve, `make test` to check. See CONTRIBUTING.md.
VENV ?= .venv
# The tests start servers of their own, one set a worker, and wait for them half of the time: two
# workers a processor. -n 0 runs them one by one.
WORKERS := $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
PYTEST_ARGS ?= -n $(WORKERS)
PY := $(VENV)/bin/python
BASE_PYTHON ?= python3
# uv is used where it is (much faster); a plain venv with pip does the same.
UV := $(shell command -v uv 2>/dev/null)


# Where the root of `make test-debian` stands; building it takes root and minutes.
DEBIAN_ROOT ?= /var/tmp/aegis-debian

.PHONY: help install up test debian-root test-debian check bench docs format lock clean

help:
	@echo "make up       install what is needed and serve Aegis"
	@echo "make test     the whole test suite, on real PostgreSQL"
	@echo "make test-debian  what needs Debian's server, extensions and S3 store (root, debootstrap)"
	@echo "make check    format, lint, types, imports, docs"
	@echo "make bench    the benchmarks (DATA=folder of labelled conversations)"

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -x $(PY) || $(BASE_PYTHON) -c 'import sys; sys.exit("Aegis needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(PY) || $(BASE_PYTHON) -m venv $(VENV)
ifneq ($(UV),)
	uv pip install --quiet --python $(PY) -r requirements.lock
	uv pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .
else
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
ifneq ($(UV),)
	uv pip install --quiet --python $(PY) -r requirements-dev.lock
else
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
endif
	@touch $@

install: $(VENV)/.installed-dev

up: $(VENV)/.installed
	@exec $(VENV)/bin/aegis up

test: install
	$(PY) -m pytest $(PYTEST_ARGS)

debian-root: install
	$(PY) -m tests.debian.root $(DEBIAN_ROOT)

test-debian: debian-root
	AEGIS_TEST_DEBIAN_ROOT=$(DEBIAN_ROOT) $(PY) -m pytest tests/debian

check: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports
	$(PY) -m pytest tests/rules

docs: install
	$(PY) -m tools.reference

format: install
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: install
	$(PY) -m benchmarks start
	$(PY) -m benchmarks ingest --rows 5000
	$(PY) -m benchmarks recall --rows 20000
	@if [ -n "$(DATA)" ]; then $(PY) -m benchmarks retrieval --data "$(DATA)"; \
	else echo "retrieval needs labelled conversations: make bench DATA=folder"; fi

# Refresh both locks (needs uv); plain `name==version` lines, for the oldest Python we support.
COMPILE := uv pip compile --quiet --upgrade --no-header --no-annotate --no-emit-index-url --python-version 3.11
lock:
	$(COMPILE) pyproject.toml --extra build -o requirements.lock
	$(COMPILE) pyproject.toml --extra build --extra dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
