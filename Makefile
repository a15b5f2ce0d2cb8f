# Everything that is done to this repository, by hand and in CI alike.
#
#   make audit    audit XTTS as it is trained by default; pictures and pages go to reports/
#   make test     run the whole test suite
#   make check    lint, format, types, import contracts, generated pages, the wheel
#   make setup    create .venv alone, from the pinned requirements (all of the above do it first)
#   make docs     remake the committed pages that are generated
#   make reports  remake the committed audits of XTTS
#   make lock     make requirements.lock anew after a change to pyproject.toml (UPGRADE=--upgrade: newest of everything)
#   make clean    remove what the targets above have made, but for the committed pages

PYTHON ?= python3
VENV ?= .venv

bin := $(VENV)/bin
pip := $(bin)/python -m pip --quiet --disable-pip-version-check
ready := $(VENV)/.ready
uv_version := 0.13.9
seed_reports := gradaudit trace --config xtts/configs/seed.toml --fail-on none --report
one_format = --format $(1) --output $(3)/minimal-unpatched.$(2)
format_reports = gradaudit trace --config xtts/configs/seed.toml --scenario minimal-unpatched \
    $(call one_format,json,json,$(1)) $(call one_format,markdown,md,$(1)) $(call one_format,sarif,sarif,$(1)) \
    $(call one_format,junit,xml,$(1)) $(call one_format,github,txt,$(1)) 2>/dev/null; test $$? -eq 1 # its gate fails
# Times, and the software that the audit ran on.
varying := -I '^Traced in ' -I '^Picture: ' -I '^ *"\(build\|trace\|analyse\|keras\|numpy\|python\|tensorflow\)":' -I ' time="'
left_out := -x '*.json' -x '*.md' -x '*.sarif' -x '*.xml' -x '*.html' -x '*.csv' -x '*.png' -x '*.dot'
seed_graph := gradaudit graph --config xtts/configs/seed.toml --scenario minimal-unpatched \
    --focus xtts/mel_decoder/pitch_projection/kernel --output

# Bytecode is wanted however the machine is set up: without it TensorFlow's import alone takes three times as long.
export PYTHONDONTWRITEBYTECODE =

.DELETE_ON_ERROR:
.PHONY: audit test check lint types contracts drift wheel setup docs reports lock clean help

help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

audit: setup
	$(bin)/gradaudit trace --config xtts/configs/default.toml --report reports

test: setup
	$(bin)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# ---------------------------------------------------------------------------------------------------------------- setup

setup: $(ready)

$(ready): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { \
	    echo "$(PYTHON) is not Python 3.10 to 3.13, which TensorFlow has wheels for: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Installing what requirements.lock pins into $(VENV): some 500 MB to download, two minutes or so." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(pip) install --no-compile --no-deps --only-binary :all: --require-hashes --requirement requirements.lock
	@$(pip) install --no-compile --no-build-isolation --no-deps --editable .
	@$(bin)/python -m compileall -qq -j 0 $(VENV)/lib || true # some packages ship templates that are no valid Python
	@touch $(ready)

# ---------------------------------------------------------------------------------------------------------------- check

check: lint types contracts drift wheel

lint: setup
	$(bin)/ruff check .
	$(bin)/ruff format --check .

types: setup
	$(bin)/mypy

contracts: setup
	$(bin)/lint-imports --no-logo

# Pages first, for they are quick. Of the audits, only the time they took may differ.
drift: setup
	$(bin)/python docs/generate.py --check
	@rm -rf build/reports
	@$(bin)/$(seed_reports) build/reports/seed >/dev/null
	@$(bin)/$(seed_graph) build/reports/seed/pitch-kernel.svg
	@diff -r $(varying) $(left_out) reports/seed build/reports/seed || { \
	    echo "reports/seed is out of date: run make reports docs" >&2; exit 1; }
	@$(bin)/$(call format_reports,build/reports/formats)
	@diff -r $(varying) reports/formats build/reports/formats || { \
	    echo "reports/formats is out of date: run make reports" >&2; exit 1; }

# The wheel is built, installed alone into an empty environment that borrows the other packages, and answers.
wheel: setup
	@rm -rf build/wheel && mkdir -p build/wheel
	@$(pip) wheel --no-build-isolation --no-deps --wheel-dir build/wheel .
	@$(bin)/python -m venv --without-pip build/wheel/venv
	@$(pip) --python build/wheel/venv install --no-index --no-deps build/wheel/*.whl
	@$(bin)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > build/wheel/borrowed.pth
	@cp build/wheel/borrowed.pth build/wheel/venv/lib/python*/site-packages/
	@cd build/wheel && venv/bin/gradaudit --version && venv/bin/gradaudit explain GA101 >/dev/null && venv/bin/xtts --help >/dev/null
	@cd build/wheel && venv/bin/python -I -c 'from importlib.resources import files; \
	    files("gradaudit").joinpath("py.typed").read_bytes(); \
	    from gradaudit.reports.page.document import render_page; from gradaudit.graph.report import Report; \
	    assert "<script>" in render_page(Report({}, {}, ())); \
	    [files("xtts").joinpath("configs", name).read_text() for name in ("default.toml", "seed.toml")]'

# ---------------------------------------------------------------------------------------------------- what is committed

docs: setup
	$(bin)/python docs/generate.py

reports: setup
	rm -rf reports/seed
	$(bin)/$(seed_reports) reports/seed
	$(bin)/$(seed_graph) reports/seed/pitch-kernel.svg
	rm -rf reports/formats
	$(bin)/$(call format_reports,reports/formats)

# No addresses get into the file: none is asked for, and the header is ours.
# What nothing here imports: num2words's own command, and the network of Resemblyzer, of which the weights alone are read.
lock: unused = docopt torch typing webrtcvad
lock:
	@test -x build/lock/bin/uv || { $(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --quiet uv==$(uv_version); }
	@printf '%s ; python_version < "3"\n' $(unused) > build/lock/unused.txt
	UV_PYTHON_DOWNLOADS=never UV_CUSTOM_COMPILE_COMMAND='make lock' build/lock/bin/uv pip compile pyproject.toml --quiet --universal \
	    --python-version 3.10 --extra cpu --extra plot --extra xtts --extra evaluate --extra dev --override build/lock/unused.txt \
	    --generate-hashes $(UPGRADE) --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
