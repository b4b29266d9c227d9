# `make app`: set up and open the page on the embedded model. `make test`: set up and run every test.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: app setup test lint coverage clean

app: setup
	$(RUN) -m streamlit run app/main.py

setup: $(VENV)/.done

$(VENV)/.done: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed; set PYTHON=/path/to/it")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test: setup lint
	$(RUN) -m pytest

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

# Without the browser's tests, so that the figure is the same on a machine that has no Chromium.
coverage: setup
	$(RUN) -m pytest -m "not browser" --cov

clean:
	rm -rf $(VENV)
