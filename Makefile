# make demo     set up, build, compress the bundled model, show plan and accuracy
# make test     set up, build, run every test
# make lib      build the library and the tool into build/
# make bench    compare Hessian-vector products with PyTorch's (half an hour, 18 GiB of memory)
# make install  copy them to PREFIX (default /usr/local); DESTDIR is put in front
# make wheel    build a Python wheel with the library inside, into build/
# make server   start the example of an inference server (examples/server)
# make test-server  set it up and test it; make serve  build its C counterpart
# make clean    remove what was built

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build
VERSION := $(shell sed -n 's/^.define CET_VERSION_M[AI][JN]OR \([0-9]*\)$$/\1./p; s/^.define CET_VERSION_PATCH \([0-9]*\)$$/\1/p' include/cet/cet.h | tr -d '\n')
SCRATCH := .build-dist
SWIFT_BUILD := CET_DIST=1 swift build --scratch-path $(SCRATCH) -c release
STAGED := $(BUILD)/lib/libcet.so.$(VERSION)
PYTHON := .venv/bin/python
DIGITS := Tests/Fixtures/digits_cnn

BENCHMARKS ?= resnet18 resnet50 mobilenet_v2 bert_base
BENCH_SPECTRUM ?= resnet18
BENCH_OPTIONS ?=

.PHONY: all lib demo test bench install wheel server serve test-server clean

all: lib

lib:
	tools/setup.sh packages
	$(SWIFT_BUILD) --product cet
	$(SWIFT_BUILD) --product cet-onnx --static-swift-stdlib -Xlinker -L$(SCRATCH)/release
	tools/stage.sh $(SCRATCH)/release $(BUILD) $(VERSION)

demo: lib
	tools/setup.sh python
	$(BUILD)/bin/cet-onnx compress $(DIGITS)/model.onnx $(BUILD)/digits_cnn.cet.onnx --data $(DIGITS)/calibration.npz --target-ratio 11 --report $(BUILD)/digits_cnn.html --force
	@echo
	@$(PYTHON) examples/python/accuracy.py $(DIGITS)/test.npz $(DIGITS)/model.onnx $(BUILD)/digits_cnn.cet.onnx

test:
	tools/test.sh

bench: lib
	CET_TORCH=1 tools/setup.sh tests
	CET_LIBRARY=$(BUILD)/lib/libcet.so $(PYTHON) Benchmarks/hvp.py $(BENCHMARKS) $(BENCH_OPTIONS)
	CET_LIBRARY=$(BUILD)/lib/libcet.so $(PYTHON) Benchmarks/spectrum.py $(BENCH_SPECTRUM)

# Copies only: what is not built yet is built first, and nothing is built again as root.
install: $(STAGED)
	tools/install.sh $(BUILD) "$(PREFIX)" "$(DESTDIR)"

$(STAGED):
	$(MAKE) lib

wheel: lib
	tools/setup.sh python
	tools/wheel.sh $(BUILD) $(PYTHON)

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

clean:
	rm -rf .build $(SCRATCH) $(BUILD)
