# Everything is set up in .venv, once, from nothing but Python 3.11 and pip.
PROFILE ?= smoke
PYTHON ?= python3.11
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := .venv/.ready

.PHONY: book test check static lab voila notebooks models checksums lock clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --constraint constraints.txt --editable ".[book,test,train,coding,cluster,dev]"
	touch $@

# Render what was executed: the pages and the executed notebooks side by side. The site is replaced only by a whole one.
# RUN=--committed takes a committed notebook as it stands where its inputs are still the same, as CI does after its tests.
book: $(READY)
	$(BIN)/rlli run --all --profile $(PROFILE) $(RUN)
	$(BIN)/python -m rlli_core.book.build $(PROFILE)

# Everything. nbval runs every committed notebook again; only cells tagged nbval-check-output must print the same. A process a
# core, each on one thread: several on all cores each crawl.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
test: $(READY)
	$(PYTEST) notebooks rlli_core tests --nbval-lax --nbval-current-env --nbval-cell-timeout 300

# The loop of a developer: what can be said without a browser, a kernel, a training or the embedded models.
check: static
	$(PYTEST) rlli_core tests -q -m "not (browser or kernel or training or slow)"

static: $(READY)
	$(BIN)/ruff check -q rlli_core tests book/extensions notebooks
	$(BIN)/ruff format -q --check rlli_core tests book/extensions
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry rlli_core
	$(BIN)/mypy

lab: $(READY)
	$(BIN)/jupyter lab notebooks

# The explorer with a live kernel and without the code; for another page, .venv/bin/voila notebooks/NAME.ipynb
voila: $(READY)
	$(BIN)/voila notebooks/explorer.ipynb

# Execute the committed notebooks again and write them back with their outputs, and the pages that show their numbers.
notebooks: $(READY)
	$(BIN)/rlli run --all --profile smoke --write-back
	$(BIN)/rlli claims --write

# After a change of what the models learn from: everything made anew, in this order; each part goes on where it was broken off.
# A night on two cores.
models: $(READY)
	$(BIN)/python -m rlli_core.embedded all
	$(BIN)/python -m rlli_core.allocation.gather table
	$(BIN)/python -m rlli_core.allocation.gather handoffs
	$(BIN)/python -m rlli_core.allocation.pays
	$(BIN)/rlli train --study --profile full
	$(BIN)/rlli train --algorithm g-ddpg --users 2 --profile full --folder build/two-users
	cp build/study-full/g-ddpg-0/actor.safetensors data/models/allocator/g-ddpg.safetensors
	cp build/study-full/ddpg-0/actor.safetensors data/models/allocator/ddpg.safetensors
	cp build/two-users/actor.safetensors data/models/allocator/g-ddpg-2-users.safetensors
	$(BIN)/python -m rlli_core.book.browser.atlas
	$(BIN)/rlli models --write-checksums
	$(MAKE) notebooks

checksums: $(READY)
	$(BIN)/rlli models --write-checksums

# After a change of dependencies: the versions a fresh environment gets, without the local tag of a CPU or CUDA torch.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --editable ".[book,test,train,coding,cluster,dev]"
	head -n 1 constraints.txt > build/lock/constraints.txt
	build/lock/bin/python -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/' >> build/lock/constraints.txt
	mv build/lock/constraints.txt constraints.txt

# Everything that was made but .venv, which takes minutes to make again.
clean:
	rm -rf build .pytest_cache *.egg-info
