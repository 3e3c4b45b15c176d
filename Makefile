# Meridian. `make` by itself says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Which schedules `make model` runs, first..end.
SEEDS ?= 0..200000

# Everything is built with one profile: what is tested is what runs.
CARGO_RUN = cargo run --release --quiet

.PHONY: help test model mutants fix demo dev sim bench

help: ## says what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

test: .rust ## everything that CI runs: formatting, lints, docs, tests and the model fuzzer (about 3 minutes from nothing)
	@echo "Formatting, lints, docs and tests. The first build takes about 2 minutes on two cores, later ones seconds."
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
	cargo test --release --workspace
	@echo "The engine as it ships: without planted bugs."
	cargo test --release -p meridian-core

model: .rust ## runs the model fuzzer on SEEDS=first..end
	$(CARGO_RUN) -p meridian-tests --bin meridian-model -- run --seeds $(SEEDS)

mutants: .rust ## plants each bug in turn and counts the schedules that catch it
	$(CARGO_RUN) -p meridian-tests --bin meridian-model -- mutants

fix: .rust ## formats, and mends what the lints can mend
	cargo fmt --all
	cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged

demo: .no-server ## there is no server yet: says what is missing

dev: .no-server ## there is no server yet: says what is missing

.PHONY: .no-server
.no-server:
	@echo "Not there yet: Meridian has its engine and the engine's proof, and no server around it." >&2
	@echo "What there is: 'make test' runs everything, 'make model' the model fuzzer for as long as you like." >&2
	@exit 1

sim: ## there is no whole-cluster simulator yet: says what is missing
	@echo "make sim: not there yet: a simulator of whole clusters needs more of the node than there is." >&2
	@echo "What there is: 'make model' runs a shard's replicas on random schedules with faults." >&2
	@exit 1

bench: ## there is nothing to measure from outside yet: says what is missing
	@echo "make bench: not there yet: there is no server to put under load." >&2
	@echo "What there is: the cost gates in tests/costs.rs, part of 'make test'." >&2
	@exit 1

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
