# Tributary. `make` builds, `make test` checks, `make demo` shows; `make help` lists the rest.
#
# CC, SANITIZE=address,undefined|thread and WERROR=1 choose the build; each choice has a folder
# of its own below build/, so that changing it never mixes objects.

SHELL := /bin/bash
.DEFAULT_GOAL := all

ifdef SANITIZE
empty :=
comma := ,
FLAVOUR := $(subst $(comma),-,$(SANITIZE))-$(notdir $(CC))
BUILD   := build/$(FLAVOUR)
MODE    := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
else
BUILD   := build$(if $(filter-out cc gcc,$(notdir $(CC))),/$(notdir $(CC)))
MODE    := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum \
        -Wimplicit-fallthrough $(if $(WERROR),-Werror)
CPPFLAGS += -I. -D_GNU_SOURCE
CFLAGS   += -std=c17 -fPIE $(MODE) $(WARN)
CXX      := $(if $(findstring clang,$(CC)),$(CC:clang%=clang++%),$(if $(filter cc,$(CC)),g++,$(CC:gcc%=g++%)))
CXXFLAGS += -std=c++17 -fPIE $(MODE) -fno-exceptions -fno-sanitize=vptr $(if $(findstring clang,$(CC)),-fno-sanitize=function) -Wall -Wextra -Wshadow $(if $(WERROR),-Werror)
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE))
LDLIBS   := -lnng -lmsgpackc -lleveldb -lzstd -lsodium -lmicrohttpd -lgnutls -lsimdjson -lstdc++ -lyajl -lpcre2-8 -lz -lutf8proc -lpthread -lm
CLI_LIBS := -lcurl

library = $(filter-out %_test.c,$(wildcard $(1)))
SHARED_SRC    := $(call library,shared/*.c shared/*/*.c shared/*.cc shared/*/*.cc)
# Made of the npm package crawler-user-agents, for the collector's bot filter.
CRAWLERS      := build/generated/crawlers.c
CRAWLER_TESTS := build/generated/crawler_vectors.c
COLLECTOR_SRC := $(filter-out collector/main.c,$(call library,collector/*.c collector/*/*.c)) $(CRAWLERS)
HUB_SRC       := $(filter-out hub/main.c hub/cli/%,$(call library,hub/*.c hub/*/*.c))
CLI_SRC       := $(call library,hub/cli/*.c)
UNIT_TESTS    := $(wildcard shared/*_test.c shared/*/*_test.c collector/*/*_test.c hub/*_test.c hub/*/*_test.c)
SIM_TESTS     := $(wildcard tests/simulation/*_test.c)
FUZZERS       := $(wildcard tests/fuzz/*_fuzz.c)

objects  = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))
PROGRAMS := $(addprefix $(BUILD)/,tributary-collector tributary-hub tributary)
TESTS    := $(patsubst %.c,$(BUILD)/tests/%,$(UNIT_TESTS) $(SIM_TESTS))
ifneq (,$(findstring thread,$(SANITIZE)))
# They have no threads, and take minutes under this sanitizer.
TESTS := $(filter-out $(BUILD)/tests/shared/damage/%,$(TESTS))
endif

.PHONY: all install help deps libraries tag demo test unit e2e soak fuzz fuzz-replay bench format lint clean check-format

all: $(PROGRAMS) tag

help:
	@echo 'make            build both daemons, the command and the tag'
	@echo 'make install    put programs, tag and units into /usr (or below DESTDIR)'
	@echo 'make deps       install what is missing (Debian packages, npm dependencies)'
	@echo 'make demo       build and run a hub, two collectors and a shop; Ctrl-C ends it'
	@echo 'make test       unit, property, simulation and end-to-end tests'
	@echo 'make SANITIZE=address,undefined unit   the C tests under a sanitizer (also: thread)'
	@echo 'make bench      measure, with nginx in the same run; build/bench.json'
	@echo 'make soak       ten minutes of full load with the line cut again and again (SOAK_SECONDS)'
	@echo 'make fuzz       fuzz every parser of outside bytes (FUZZ_SECONDS each)'
	@echo 'make format lint clean'

deps:
	@deploy/install-dependencies

$(BUILD)/tributary-collector: $(call objects,collector/main.c $(COLLECTOR_SRC) $(SHARED_SRC))
$(BUILD)/tributary-hub:       $(call objects,hub/main.c $(HUB_SRC) $(SHARED_SRC))
$(BUILD)/tributary:           $(call objects,$(CLI_SRC) $(SHARED_SRC))
$(BUILD)/tributary: EXTRA_LIBS := $(CLI_LIBS)
$(PROGRAMS):
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LDLIBS) $(EXTRA_LIBS)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The one place where a library has no C interface: shared/json_tape.h.
$(BUILD)/obj/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	@$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/obj/shared/dictionary.o: shared/dictionary.bin
$(BUILD)/obj/collector/api/customers_page.o: collector/api/customers.html

$(CRAWLERS) $(CRAWLER_TESTS) &: collector/gate/crawlers.mjs package-lock.json | node_modules
	@echo "  GEN   $(CRAWLERS)"
	@node collector/gate/crawlers.mjs $(CRAWLERS) $(CRAWLER_TESTS)

LIBRARY_OBJECTS := $(call objects,$(SHARED_SRC) $(COLLECTOR_SRC) $(HUB_SRC))
$(BUILD)/libtributary.a: $(LIBRARY_OBJECTS)
	@rm -f $@ && ar qcs $@ $^

$(BUILD)/tests/%: $(BUILD)/obj/%.o $(BUILD)/libtributary.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)
$(BUILD)/tests/collector/gate/bots_test: $(call objects,$(CRAWLER_TESTS))
.PRECIOUS: $(BUILD)/obj/%.o

# LevelDB and NNG are not instrumented: the thread sanitizer cannot see their locks.
TEST_ENV := $(if $(findstring thread,$(SANITIZE)),TSAN_OPTIONS=ignore_noninstrumented_modules=1) \
            $(if $(findstring address,$(SANITIZE)),LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0)
TEST_SECONDS ?= 300
unit: $(TESTS)
	@for t in $(TESTS); do echo "  TEST  $$t"; $(TEST_ENV) timeout $(TEST_SECONDS) $$t || exit 1; done

tag: tag-js/dist/t.js
tag-js/dist/t.js: $(wildcard tag-js/src/*.js tag-js/src/more/*.js tag-js/package.json) tag-js/build.mjs package-lock.json | node_modules
	@npm run --silent --workspace tag-js build

node_modules: package.json tag-js/package.json tests/package.json package-lock.json
	@npm ci --no-fund --no-audit --loglevel=error
	@touch $@

e2e: all
	@BUILD_DIR=$(BUILD) node tests/e2e/run.mjs

# Ends with what ran, how many, and what was skipped and why. STAGES: unit fuzz tag e2e.
test: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all
	+@BUILD_DIR=$(BUILD) node tests/test.mjs $(STAGES)

# What the units in deploy/systemd expect. DESTDIR is put before each path, as packagers do.
install: all
	@install -D -m 755 -t $(DESTDIR)/usr/bin $(PROGRAMS)
	@install -D -m 644 -t $(DESTDIR)/usr/share/tributary tag-js/dist/t.js* tag-js/dist/t.more.js*
	@install -D -m 644 -t $(DESTDIR)/usr/lib/systemd/system $(wildcard deploy/systemd/*.service deploy/systemd/*.socket)

demo: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@exec node tests/demo/demo.mjs

soak: all
	@BUILD_DIR=$(BUILD) node tests/soak/soak.mjs

bench: all
	@node tests/bench/bench.mjs

# What tests/bench and tests/fuzz link their own programs with.
libraries:
	@echo $(LDLIBS)

FUZZ_SECONDS ?= 60
fuzz:
	@tests/fuzz/run $(FUZZ_SECONDS)
fuzz-replay: $(FUZZERS:%.c=$(BUILD)/tests/%)
	@for f in $^; do $$f tests/fuzz/corpus/$$(basename $$f _fuzz) || exit 1; done
$(BUILD)/tests/tests/fuzz/%_fuzz: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(BUILD)/obj/tests/fuzz/replay.o $(BUILD)/libtributary.a
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

SOURCES = $(shell git ls-files '*.c' '*.h' '*.cc')
format:
	@clang-format -i $(SOURCES)
check-format:
	@clang-format --dry-run -Werror $(SOURCES)
lint:
	@clang-tidy --quiet $(filter-out %_test.c tests/%,$(filter %.c,$(SOURCES))) -- $(CPPFLAGS) -std=c17

clean:
	@rm -rf build tag-js/dist run

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
