# The two commands of a newcomer are `make demo` and `make check`.
#
#   make demo [PG=17]              a scratch cluster, real traffic, the live map
#   make demo-stop [PG=17]         stop that cluster
#   make check [PG="15 18"]        everything that must hold; all servers by default
#   make check-long [PG=15]        the same with the long histories and workloads
#   make fuzz [SECONDS=60]         fuzz what reads records and state files
#   make miri                      the pure crates' tests under Miri
#   make soak [PG=17] [MINUTES=30]  a long run, and its figures
#   make bench [PG="15 18r"]       what walker costs, against others: one table
#   make bench-check               instruction counts of the pure parts
#   make install PG_CONFIG=...     build (release) and install into a server
#   make uninstall PG_CONFIG=...   remove exactly what was installed
#   make package [PG="15 17"]     a .deb for each server, in target/deb
#   make setup [PG=15]             only bring the machine to where the above works
#   make clean                     remove what was built in this tree

PG ?=
PG_CONFIG ?= pg_config
DESTDIR ?=
export DESTDIR

MAJORS = $(or $(PG),15 16 17 18)
DEMO = $(or $(firstword $(PG)),15)

.PHONY: help demo demo-stop check check-long fuzz miri soak package bench bench-check install uninstall setup clean

help:
	@sed -n 's/^#   //p' Makefile

demo:
	scripts/demo.sh start $(DEMO)

demo-stop:
	scripts/demo.sh stop $(DEMO)

check:
	scripts/check.sh $(MAJORS)

check-long:
	WALKER_HISTORIES=$${WALKER_HISTORIES:-500} WALKER_VARIANTS=$${WALKER_VARIANTS:-all} \
	WALKER_SCALE=$${WALKER_SCALE:-10} WALKER_CLIENTS=$${WALKER_CLIENTS:-8} \
	WALKER_SECONDS=$${WALKER_SECONDS:-60} WALKER_STOPS=$${WALKER_STOPS:-20} \
	WALKER_CRASHES=$${WALKER_CRASHES:-100} WALKER_PROMOTIONS=$${WALKER_PROMOTIONS:-5} \
	WALKER_SUITE=$${WALKER_SUITE:-1} WALKER_BACKLOG=$${WALKER_BACKLOG:-5000} WALKER_FUZZ=$${WALKER_FUZZ:-300} \
	WALKER_ALLOCATIONS=$${WALKER_ALLOCATIONS:-600} \
	scripts/check.sh $(MAJORS)

fuzz:
	scripts/fuzz.sh $(or $(SECONDS),60)

miri:
	scripts/miri.sh

soak:
	scripts/setup.sh $(DEMO)
	scripts/install.sh install "$$(bash -c '. scripts/env.sh; pg_config_of $(DEMO)')"
	scripts/soak.sh $(DEMO)

bench:
	scripts/bench.sh $(PG)

bench-check:
	scripts/bench-check.sh

# For the distribution's own server if it is there, else for the test server.
package:
	scripts/setup.sh
	for major in $(MAJORS); do \
	  own=/usr/lib/postgresql/$$major/bin/pg_config; \
	  if [ ! -x $$own ]; then \
	    scripts/setup.sh $$major || exit 1; \
	    own=$$(bash -c ". scripts/env.sh; pg_config_of $$major"); \
	  fi; \
	  scripts/deb.sh $$own || exit 1; \
	done

setup:
	scripts/setup.sh $(MAJORS)

install:
	scripts/setup.sh
	scripts/install.sh install "$(PG_CONFIG)"

uninstall:
	scripts/install.sh uninstall "$(PG_CONFIG)"

clean:
	cargo clean
