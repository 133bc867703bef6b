# Everything that a person or a machine does with this checkout. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help demo build test fmt lint check house bench clean

BIN := $(or $(CARGO_TARGET_DIR),target)/release/tiffin
# More for the program: make demo ARGS="--orders 2000 --exit --json"
ARGS ?=

help: ## Lists what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Builds the program, as it is shipped
	cargo build --release --locked -p tiffin

demo: build ## Opens a canteen, serves a lunch, proves the books, keeps serving
	$(BIN) demo $(ARGS)

test: ## Installs what tests need and runs everything that has to pass
	@bash scripts/test.sh

check: ## Compiles everything, quickly, without running it
	cargo check --workspace --all-targets --locked

fmt: ## Formats the code
	cargo fmt --all

lint: ## Clippy, with warnings as errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

house: ## Which crate may use which, and who names an adapter
	cargo test --locked -p tiffin-tests --test house

bench: build ## Commands, orders, overload, live updates and rebuilds on this machine, beside bare loops
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(BIN) bench commands --store "sqlite:$$dir/commands" --in-flight 1024 --seconds 10 $(ARGS) && \
	$(BIN) bench orders --store "sqlite:$$dir/orders" --in-flight 256 --servings 100 --seconds 10 $(ARGS) && \
	$(BIN) bench http --store "sqlite:$$dir/http" --rate 200 --seconds 20 $(ARGS) && \
	$(BIN) bench overload --store "sqlite:$$dir/overload" $(ARGS) && \
	$(BIN) bench live --store "sqlite:$$dir/live" $(ARGS) && \
	$(BIN) bench rebuild --store "sqlite:$$dir/rebuild" --events 2000000 $(ARGS)

clean: ## Removes what was built
	cargo clean
