# Meridian. `make` by itself says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Which schedules `make model` runs, first..end.
SEEDS ?= 0..200000

# Which clusters `make sim` runs, first..end: three simulated minutes each.
SIM_SEEDS ?= 0..60

# How often `make fuzz` runs each decoder; the only one, if TARGET=name; and on one input alone, if INPUT=file besides.
RUNS ?= 2000000
TARGET ?=
INPUT ?=

# Fuzzers are built with their own flags, so in a directory of their own: every branch is counted, nothing overflows unseen. The
# flags are the stable compiler's. (The host is named, for otherwise they would hold for build scripts too.)
FUZZ_DIRECTORY = $(or $(CARGO_TARGET_DIR),target)/fuzz
FUZZ_HOST = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
FUZZ_FLAGS = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	--cfg fuzzing -Cdebug-assertions -Coverflow-checks

# Where `make bench` puts its numbers.
RESULT ?= $(or $(CARGO_TARGET_DIR),target)/bench/one-node.json

# Everything is built with one profile: what is tested is what runs. RocksDB is compiled once, see there.
CARGO = server/with-rocksdb cargo

.PHONY: help build test model mutants fix demo dev sim fuzz bench

help: ## says what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

build: .rust ## builds the node as it ships: target/release/meridian
	$(CARGO) build --release --package meridian-server
	@echo "Built: $${CARGO_TARGET_DIR:-target}/release/meridian"

test: .rust ## everything that CI runs: formatting, lints, docs, tests and the model fuzzer
	@echo "Formatting, lints, docs and tests: about 10 minutes the first time on two cores, once RocksDB is compiled."
	cargo fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps
	$(CARGO) test --release --workspace
	@echo "The engine as it ships: without planted bugs."
	cargo test --release --package meridian-core

model: .rust ## runs the model fuzzer on SEEDS=first..end
	cargo run --release --quiet -p meridian-tests --bin meridian-model -- run --seeds $(SEEDS)

mutants: .rust ## plants each bug in turn and counts the schedules that catch it
	cargo run --release --quiet -p meridian-tests --bin meridian-model -- mutants

fix: .rust ## formats, and mends what the lints can mend
	cargo fmt --all
	$(CARGO) clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged

demo: .rust ## three nodes: write anywhere, cut one off, heal, all agree
	@echo "Building the node and the demonstration: 3 minutes the first time on two cores, once RocksDB is compiled."
	$(CARGO) build --release --quiet --package meridian-server
	MERIDIAN_BIN=$${CARGO_TARGET_DIR:-target}/release/meridian \
		$(CARGO) run --release --quiet --package meridian-tests --bin meridian-demo

dev: build ## three nodes on this machine until Ctrl-C, to play with
	$${CARGO_TARGET_DIR:-target}/release/meridian dev --faults

sim: .rust ## whole clusters in simulated time: the seeds of CI, or SIM_SEEDS=first..end
	cargo run --release --quiet -p meridian-tests --bin meridian-sim -- run --seeds $(SIM_SEEDS)

fuzz: .rust ## runs every decoder RUNS times on mutated bytes, guided by coverage; TARGET=name for one
	@echo "Building the fuzzer: 5 minutes the first time on two cores, once RocksDB is compiled."
	server/with-rocksdb env CARGO_TARGET_DIR="$(FUZZ_DIRECTORY)" RUSTFLAGS="$(FUZZ_FLAGS)" \
		cargo build --release --quiet --package meridian-fuzz --features libfuzzer --target $(FUZZ_HOST)
	$(FUZZ_DIRECTORY)/$(FUZZ_HOST)/release/decoders --runs $(RUNS) --directory "$(FUZZ_DIRECTORY)" \
		$(if $(TARGET),--target $(TARGET)) $(if $(INPUT),--input $(INPUT))

bench: build ## one node beside what this machine gives at best, 3 minutes; the numbers go to RESULT=file
	@mkdir -p "$(dir $(RESULT))"
	$(CARGO) run --release --quiet --package meridian-bench -- ceilings \
		--bin $${CARGO_TARGET_DIR:-target}/release/meridian \
		--label "$$(git describe --always --dirty 2>/dev/null || echo unknown)" --json "$(RESULT)"
	@echo "All numbers: $(RESULT)"

# What a build needs. What can be set up from here is set up, saying so.
.PHONY: .rust
.rust:
	@command -v cargo >/dev/null || { echo "Meridian needs Rust: https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "Meridian needs a C compiler to link: apt-get install gcc" >&2; exit 1; }
	@for part in fmt clippy; do \
		cargo $$part --version >/dev/null 2>&1 || { \
			echo "Adding Rust's components rustfmt and clippy, which the tests need."; \
			rustup component add rustfmt clippy; \
		}; \
	done
