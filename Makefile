# SPDX-License-Identifier: MIT
# make help lists the targets. Everything built goes to o/$(MODE)/.

VERSION := 0.1.0
MODE ?= release
O ?= o/$(MODE)
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= cc
AR ?= ar
PYTHON ?= python3
PKG_CONFIG ?= pkg-config
# For another machine: CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig
PKG_CONFIG_LIBDIR ?=
pkg = $(shell $(if $(PKG_CONFIG_LIBDIR),PKG_CONFIG_LIBDIR='$(PKG_CONFIG_LIBDIR)') $(PKG_CONFIG) $(1) 2>/dev/null)

PACKAGES := zlib libxxhash jansson libpcre2-8 libutf8proc openblas
ROOMS := base formats verify quantize convert
SOURCES := $(sort $(wildcard $(ROOMS:%=%/*.c)))
CLI_SOURCES := $(sort $(wildcard cli/*.c))
TEST_SOURCES := $(sort $(wildcard tests/*.c tests/support/*.c))
BENCH_SOURCES := $(sort $(wildcard bench/*.c))
PUBLIC_HEADERS := $(sort $(wildcard include/hone/*.h))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/*.c))
ALL_C := $(SOURCES) $(CLI_SOURCES) $(TEST_SOURCES) $(BENCH_SOURCES) \
         $(sort $(wildcard $(ROOMS:%=%/*.h) include/hone/*.h cli/*.h tests/*.h tests/support/*.h tests/fuzz/*.h \
           tests/tools/*.c bench/*.h)) $(FUZZ_SOURCES)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wdouble-promotion -Wstrict-prototypes \
  -Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wcast-align -Wpointer-arith -Wwrite-strings \
  -Wformat=2 -Wimplicit-fallthrough
ifneq ($(CI),)
WARNINGS += -Werror
endif
CPPFLAGS_ALL = -I. -Iinclude -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DHONE_VERSION='"$(VERSION)"' $(CPPFLAGS)
# -ffp-contract=off: the bytes we write must not depend on whether a compiler fuses a*b+c.
CFLAGS_ALL = -std=c11 -ffp-contract=off -fopenmp -fPIC -fvisibility=hidden -g $(CFLAGS_$(MODE)) $(WARNINGS) \
  $(call pkg,--cflags $(PACKAGES)) $(CFLAGS)
LDFLAGS_ALL = -fopenmp $(LDFLAGS_$(MODE)) $(LDFLAGS) -Wl,--as-needed
LDLIBS_ALL = $(call pkg,--libs $(PACKAGES)) -lm $(LDLIBS)

CFLAGS_release := -O2
CFLAGS_debug := -O0
CFLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_ubsan := -O1 -fsanitize=undefined -fno-sanitize-recover=all
LDFLAGS_ubsan := -fsanitize=undefined
CFLAGS_tsan := -O1 -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
CFLAGS_cov := -O0 --coverage
LDFLAGS_cov := --coverage
ifeq ($(filter $(MODE),release debug asan ubsan tsan cov),)
$(error MODE=$(MODE): use release, debug, asan, ubsan, tsan or cov)
endif

# Instruction sets beyond the baseline, by file name; a file is entered only after base/cpu.c saw the CPU. Which files
# there are is a matter of the compiler's target, not of the machine that builds.
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
ISA_avx2 := -mavx2 -mfma -mf16c -mbmi2
ISA_avx512 := $(ISA_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
ifeq ($(filter x86_64 amd64,$(MACHINE)),)
SOURCES := $(filter-out %_avx2.c %_avx512.c,$(SOURCES))
endif
ifeq ($(filter aarch64 arm64,$(MACHINE)),)
SOURCES := $(filter-out %_neon.c,$(SOURCES))
endif

objects = $(patsubst %.c,$(O)/%.o,$(1))
LIB_OBJECTS := $(call objects,$(SOURCES))

.DEFAULT_GOAL := all
.PHONY: all demo test oracle bench fuzz lint format check-format check-deps check-symbols check-headers deps install \
  uninstall clean help
.SECONDARY:

## all: the library (static and shared) and the program hone
all: $(O)/libhone.a $(O)/libhone.so $(O)/hone $(O)/hone.pc

$(O)/%_avx2.o: ISA = $(ISA_avx2)
$(O)/%_avx512.o: ISA = $(ISA_avx512)
$(O)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(ISA) -MMD -MP -c -o $@ $<

$(O)/libhone.a: $(LIB_OBJECTS)
	rm -f $@
	$(AR) rcs $@ $^

$(O)/libhone.so: $(LIB_OBJECTS)
	$(CC) -shared -Wl,-soname,libhone.so.0 $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(O)/hone: $(call objects,$(CLI_SOURCES)) $(O)/libhone.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# Made anew each time: PREFIX may have changed.
.PHONY: $(O)/hone.pc
$(O)/hone.pc: docs/hone.pc.in
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@PACKAGES@|$(PACKAGES)|' $< > $@

# Check's float macros promote to double; its headers are not ours to mend.
$(O)/tests/%.o: WARNINGS += -Wno-double-promotion
$(O)/tests/%.o: CPPFLAGS_ALL += $(call pkg,--cflags check)
$(O)/hone-tests: $(call objects,$(TEST_SOURCES)) $(O)/libhone.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL) $(call pkg,--libs check)

$(O)/hone-bench: $(call objects,$(BENCH_SOURCES)) $(O)/libhone.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL) -ldl

## demo: install what is missing, build, then convert, quantize and verify the embedded model
demo: deps
	@$(MAKE) --no-print-directory -s MODE=$(MODE) all
	@sh docs/demo.sh $(O)/hone tests/models/tiny-llama $(O)/demo

## test: install what is missing, then run the test suite and the command-line tests
test: deps
	@$(MAKE) --no-print-directory MODE=$(MODE) run-tests

.PHONY: run-tests run-suites
run-tests: $(O)/hone-tests $(O)/hone fuzz-replay
	@$(MAKE) --no-print-directory MODE=$(MODE) run-suites
	sh tests/cli/run.sh $(O)/hone
# Several suites at a time: threads that wait must not spin.
run-suites: $(O)/hone-tests
	sed -n 's/^SUITE(\(.*\))$$/\1/p' tests/suites.h | OMP_WAIT_POLICY=passive sh tests/in_parallel.sh $(O)/hone-tests

## oracle: compare with torch, transformers, tokenizers and llama.cpp in a virtual environment outside the tree
oracle: all
	sh tests/oracle/run.sh $(O)

## bench: time the hot paths against their limits and llama.cpp's (LLAMA_CPP_LIB, BENCH_WEIGHTS: size of the input)
bench: $(O)/hone-bench
	$(O)/hone-bench $(if $(BENCH_WEIGHTS),--weights $(BENCH_WEIGHTS))

## fuzz-replay: run the fuzz targets on their seeds and simple damage to them; part of test
FUZZ_SHARED := $(call objects,tests/fuzz/fuzz_open.c tests/fuzz/replay.c tests/support/byte_builder.c tests/support/zip_builder.c)
FUZZ_TARGETS := $(patsubst %.c,$(O)/%,$(filter-out tests/fuzz/fuzz_open.c,$(wildcard tests/fuzz/fuzz_*.c)))
$(FUZZ_TARGETS): $(O)/%: $(O)/%.o $(FUZZ_SHARED) $(O)/libhone.a
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)
.PHONY: fuzz-replay
fuzz-replay: $(FUZZ_TARGETS)
	sh tests/fuzz/replay.sh $(O)

## fuzz: build the libFuzzer targets of tests/fuzz with clang into o/fuzz
fuzz:
	sh tests/fuzz/build.sh

## lint: clang-tidy and cppcheck
lint:
	sh tests/lint.sh

## format: rewrite the sources in house style; check-format only looks
format:
	clang-format -i $(ALL_C)
check-format:
	clang-format --dry-run --Werror $(ALL_C)

## check-deps: rooms include only rooms to their right (cli convert quantize verify formats base)
check-deps:
	sh tests/check_deps.sh

## check-symbols: the shared library exports hone_ names and nothing else
check-symbols: $(O)/libhone.so $(O)/libhone.a
	sh tests/check_symbols.sh $(O)/libhone.so $(O)/libhone.a

## check-headers: every public header compiles alone, as C11 and as C++
check-headers:
	@for h in $(PUBLIC_HEADERS); do \
	  $(CC) -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude -x c -fsyntax-only $$h || exit 1; \
	  $(CXX) -std=c++11 -Wall -Wextra -Wpedantic -Werror -Iinclude -x c++ -fsyntax-only $$h || exit 1; \
	done

## deps: install missing packages (apt as root or with sudo; elsewhere print their names)
deps:
	@sh docs/install_deps.sh

## install: program, libraries, headers, man page and hone.pc under $(DESTDIR)$(PREFIX)
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/hone \
	  $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(O)/hone $(DESTDIR)$(PREFIX)/bin/hone
	install -m 644 $(O)/libhone.a $(DESTDIR)$(PREFIX)/lib/libhone.a
	install -m 755 $(O)/libhone.so $(DESTDIR)$(PREFIX)/lib/libhone.so.$(VERSION)
	ln -sf libhone.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libhone.so.0
	ln -sf libhone.so.0 $(DESTDIR)$(PREFIX)/lib/libhone.so
	install -m 644 $(O)/hone.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/hone.pc
	install -m 644 $(PUBLIC_HEADERS) $(DESTDIR)$(PREFIX)/include/hone/
	install -m 644 docs/hone.1 $(DESTDIR)$(PREFIX)/share/man/man1/hone.1

## uninstall: remove what install put there
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/hone $(DESTDIR)$(PREFIX)/lib/libhone.a $(DESTDIR)$(PREFIX)/lib/libhone.so* \
	  $(DESTDIR)$(PREFIX)/lib/pkgconfig/hone.pc $(DESTDIR)$(PREFIX)/share/man/man1/hone.1
	rm -rf $(DESTDIR)$(PREFIX)/include/hone

## clean: remove everything built
clean:
	rm -rf o

## help: this list
help:
	@sed -n 's/^## //p' Makefile

-include $(patsubst %.o,%.d,$(call objects,$(SOURCES) $(CLI_SOURCES) $(TEST_SOURCES) $(BENCH_SOURCES) $(FUZZ_SOURCES)))
