# edge-malaria: everything a person or a CI runs. `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EM     := $(BIN)/edge-malaria
HOST   := $(VENV)/.installed-host
DEVICE := $(VENV)/.installed-device
NIH    := $(if $(EDGE_MALARIA_DATA),$(wildcard $(EDGE_MALARIA_DATA)/nih/cell_images.zip))
DATA   := $(if $(NIH),--data $(NIH))
# One more than two cores: a test that waits for a disk or a process leaves its core to another.
WORKERS ?= 3
# What trains, converts or compiles (only loading TensorFlow takes longer than a quick test), starts a
# cluster or many processes, or runs a gate for each of dozens of planted faults.
NOT_QUICK := training crossval converters export firmware_examples install device batch doctor \
    e2e/test_training_cli.py e2e/test_preprocessing_export.py e2e/test_fallback.py \
    e2e/test_own_model.py e2e/test_few_labels.py e2e/test_screen_ends.py e2e/test_site.py \
    parity/test_microcontroller.py parity/test_finder_stage.py parity/test_network_faults.py \
    parity/test_record_faults.py parity_suite/test_plugin.py
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: help demo demo-device test test-long test-quick check wheel wheel-check install-check model \
        evidence gallery clean test-device firmware-check bench-check

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(HOST): pyproject.toml | $(BIN)/python
	$(PIP) -e '.[train,test,check]'
	@touch $@

$(DEVICE): pyproject.toml | $(BIN)/python
	$(PIP) -e '.[litert]'
	@touch $@

# A drawn slide with enough cells, read by a script that knows how it was drawn.
DEMO_SLIDE := "sim:parasitemia=0.02,fields=20,seed=3"
DEMO_READ  = echo "Now the review: a script that knows the drawing stands in for a person." \
    && $(BIN)/python -m tools.read_drawn_slide demo/slide -o demo/decisions.csv \
    && $(EM) review demo/slide --import demo/decisions.csv
DEMO_SAYS  := "Report of the drawn slide: demo/slide/report.html - look yourself: $(EM) review demo/slide"

demo: $(HOST)    ## export the shipped model, screen a drawn slide, have it read, show the report
	@mkdir -p demo
	@$(EM) export --int8 --force -o demo/default-bundle $(DATA) > demo/export.txt
	@$(EM) screen $(DEMO_SLIDE) --bundle demo/default-bundle -o demo/slide --force
	@$(DEMO_READ)
	@cat demo/export.txt
	@echo $(DEMO_SAYS)

demo-device: $(DEVICE) ## the device half: the shipped bundle, no TensorFlow
	@$(EM) selftest
	@mkdir -p demo
	@$(EM) screen $(DEMO_SLIDE) -o demo/slide --force
	@$(DEMO_READ)
	@echo $(DEMO_SAYS)

# Compiled modules are kept, whatever the environment says: every process of the tests needs them.
test test-long test-quick: export PYTHONDONTWRITEBYTECODE :=

# Only these files are read for it: reading all of them loads TensorFlow and takes ten seconds.
TIMED = $(shell grep -rl --include='test_*.py' 'pytest\.mark\.timed' tests)

# A file's tests share what they make: files are handed out, in the order of tests/conftest.py.
LONGEST_FIRST = --dist loadfile --no-loadscope-reorder

test: $(HOST)    ## the tests; real cells where EDGE_MALARIA_DATA names them
	$(BIN)/python -m pytest -n $(WORKERS) $(LONGEST_FIRST) -m "not long and not timed and not device"
	$(BIN)/python -m pytest -m "timed and not device" $(TIMED)

test-long: $(HOST) ## trainings, folds, exports and measurements of many seconds; .ci/run runs them too
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "long and not timed and not device"

test-quick: $(HOST) ## the tests for the loop of a change: no training, no conversion, no minutes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	    -m "not slow and not long and not timed and not device" \
	    $(addprefix --ignore=tests/,$(NOT_QUICK))

check: $(HOST)   ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(HOST)   ## the wheel, into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps -w dist .

install-check: $(HOST) ## documented commands and lowest versions, in fresh environments (minutes)
	$(BIN)/python -m tools.free_disk "make install-check" 4
	EDGE_MALARIA_INSTALL=1 $(BIN)/python -m pytest tests/install

wheel-check: $(HOST) ## build the wheel, install it alone with [litert], run it without TensorFlow
	bash tools/wheel_check.sh

TUNE = $(BIN)/python -m tools.fine_tune_laboratories --data "$(EDGE_MALARIA_DATA)" \
    --start runs/start
# --left-out LABORATORY=FILE[,SECOND] of each; $(1): the model, $(2): its second network, if any.
WITHOUT = runs/laboratories/$(1)-without-$(2)/float.keras
LEFT_OUT = $(foreach pair,bccd-pbc chula-raabin cheap_rig-draaslan256,$(foreach one,$(subst -, ,$(pair)),\
    --left-out $(one)=$(call WITHOUT,$(1),$(pair))$(if $(2),$(comma)$(call WITHOUT,$(2),$(pair)))))
comma := ,

model: $(HOST)   ## retrain and rebuild everything that ships (hours; resumable)
	$(BIN)/python -m tools.build_finder --data "$(EDGE_MALARIA_DATA)" \
	    -o edge_malaria/models/finder.keras
	$(BIN)/python -m tools.build_models --data "$(EDGE_MALARIA_DATA)"
	mkdir -p runs/start
	cp edge_malaria/models/default.* edge_malaria/models/micro.* runs/start/
	$(TUNE) --only default,micro --ship
	for without in bccd,pbc chula,raabin cheap_rig,draaslan256; do \
	    $(TUNE) --only default,second,micro --without $$without || exit 1; \
	done
	$(BIN)/python -m benchmarks.slides.laboratory_scores --data "$(EDGE_MALARIA_DATA)" \
	    -o runs/laboratory-scores-default $(call LEFT_OUT,default,second)
	$(BIN)/python -m tools.fit_error_model runs/laboratory-scores-default \
	    --crossfit runs/laboratories/default-crossfit --data "$(EDGE_MALARIA_DATA)"
	$(BIN)/python -m benchmarks.slides.laboratory_scores --data "$(EDGE_MALARIA_DATA)" \
	    -o runs/laboratory-scores-micro --bundle edge_malaria/models/micro $(call LEFT_OUT,micro,)
	$(BIN)/python -m tools.fit_error_model runs/laboratory-scores-micro --name micro \
	    --crossfit runs/laboratories/micro-crossfit --data "$(EDGE_MALARIA_DATA)"

evidence: $(HOST) ## everything that takes hours, into docs/evidence (resumable)
	$(BIN)/python -m benchmarks.evidence --data "$(EDGE_MALARIA_DATA)"

gallery: $(HOST) ## plots, tables and drawn cells on one page: docs/GALLERY.md
	$(BIN)/python -m benchmarks.documents.gallery $(if $(EDGE_MALARIA_DATA),--data "$(EDGE_MALARIA_DATA)")

bench-check: $(HOST) ## count instructions per field and cell; fail where one grew by 5 % (needs valgrind)
	$(BIN)/python -m benchmarks.speed.instructions --check

test-device: $(HOST) ## the shipped bundle on ARM processors under qemu; skipped with a reason
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/device -m device

firmware-check: $(HOST) ## generate the C file, build all microcontroller targets, run goldens
	bash firmware_examples/check.sh

clean:           ## remove what was built here, not the environment
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	    .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
