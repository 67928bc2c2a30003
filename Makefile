# The two commands: `make city` runs a whole city here, `make test` proves it.
SHELL := /bin/bash
CARGO := cargo
CITY_DIR ?= city

.PHONY: city test check deny bench prepare engines servers build clean-city

prepare: ## what a bare Debian lacks: a C compiler for SQLite, ring and librdkafka; libpq; zlib
	@dpkg -s build-essential pkg-config libpq-dev zlib1g-dev >/dev/null 2>&1 \
	  || (apt-get update && apt-get install -y --no-install-recommends build-essential pkg-config libpq-dev zlib1g-dev)

engines: servers target/kafka/done ## real servers for the tests, which start their own on free ports

# Where one is missing. Their packages would start them as services too, which nobody here wants: a policy forbids it.
servers: prepare
	@command -v redis-server >/dev/null && ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && command -v mvn >/dev/null || { \
	  policy=/usr/sbin/policy-rc.d; \
	  test -e $$policy || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; }; \
	  apt-get update && apt-get install -y --no-install-recommends redis-server postgresql maven default-jre-headless; }

# Apache Kafka as Maven Central has it. Only Maven and Java are needed for it, and only once.
target/kafka/done: sandbox/engines/kafka/pom.xml | servers
	rm -rf target/kafka
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/target/kafka/lib
	touch $@

build: prepare
	$(CARGO) build -p platform -p hospital-adapter -p sandbox

city: build ## a platform, two bureaus, a wallet, an SMS gateway, three hospitals and their people, until Ctrl-C
	target/debug/sandbox city --dir $(CITY_DIR)

test: prepare engines ## everything: units, contracts, tables, simulation, real processes, crashes
	$(CARGO) test --workspace --no-fail-fast

check: prepare ## format, lints, floors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --test floors

deny: ## licences, bans and sources (installs cargo-deny below target/)
	test -x target/tools/bin/cargo-deny || $(CARGO) install --locked --root target/tools cargo-deny
	target/tools/bin/cargo-deny check licenses bans sources

bench: engines ## figures, printed and not asserted: the embedded city, and the whole one beside pgbench (target/bench.json)
	$(CARGO) build --release -p platform -p hospital-adapter -p sandbox -p loadtest
	$(CARGO) build --release -p platform --example desk
	target/release/sandbox city --payments 2000 --faults-ppm 0 --json
	target/release/loadtest bench --desk-bin target/release/examples/desk

clean-city: ## forget the city's state
	rm -rf $(CITY_DIR)
