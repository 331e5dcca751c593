# Catena: one non-recursive makefile. `make help` lists the targets.
#
# BUILD=dir        where everything generated goes          (build)
# DEVELOPER=1      warnings are errors
# SANITIZE=list    address,undefined or thread
# V=1              shows whole commands; make -s shows only what the compiler has to say
# PREFIX= DESTDIR= for install
BUILD     ?= build
PREFIX    ?= /usr/local
DEVELOPER ?= 0
SANITIZE  ?=
V         ?=
CC        ?= gcc
.DEFAULT_GOAL := all

PKGS := fuse3 openssl grpc libprotobuf-c libuv rocksdb libisal inih jansson
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lgpr
# Only for CPUs that have it, and not packaged for others.
ifneq ($(wildcard /usr/include/intel-ipsec-mb.h),)
PKG_CFLAGS += -DHAVE_IPSEC_MB
PKG_LIBS   += -lIPSec_MB
endif

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wvla -Wno-unused-parameter
ifeq ($(DEVELOPER),1)
WARN += -Werror
endif
OPT ?= -O2 -g -fno-omit-frame-pointer
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread \
              -fstack-protector-strong -I. -I$(BUILD)/gen $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pthread -Wl,-z,relro,-z,now $(LDFLAGS)
ifneq ($(filter 1,$(DEVELOPER))$(SANITIZE),)
CFLAGS_ALL  += -DCHECK_LOCKS
endif
ifneq ($(SANITIZE),)
CFLAGS_ALL  += -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined
LDFLAGS_ALL += -fsanitize=$(SANITIZE)
endif

# Goes before a command: shows $(1) and $(2) instead of it.
ifeq ($(filter-out 0,$(V))$(findstring s,$(firstword -$(MAKEFLAGS))),)
short = @printf '%-3s %s\n' $(1) '$(2)';
endif

PARTS    := common master chunkserver fs
# The messages of one part only are in its own library.
PROTOS_common := $(wildcard common/cluster/proto/*.proto)
PROTOS_master := $(wildcard master/log/*.proto)
gen_c     = $(patsubst %.proto,$(BUILD)/gen/%.pb-c.c,$(notdir $(PROTOS_$(1))))
GEN_H    := $(patsubst %.c,%.h,$(foreach p,$(PARTS),$(call gen_c,$(p))))
# The inside of tools/catena.c, apart so that it can be tested.
CLI      := $(BUILD)/libcli.a
LIBS     := $(foreach p,$(PARTS),$(BUILD)/lib$(p).a) $(CLI)
MAINS    := master/shell/main.c chunkserver/server/main.c fs/mount/main.c
part_src  = $(filter-out $(MAINS),$(sort $(shell find $(1) -name '*.c')))
# The programs of tests: those of a folder, at any depth, whose names end so.
tests_named = $(patsubst %.c,$(BUILD)/%,$(sort $(shell find tests/$(1) -name '$(2).c' 2>/dev/null)))
tests_in    = $(call tests_named,$(1),*_$(2))

PROGRAMS := $(BUILD)/catena-master $(BUILD)/catena-chunkserver $(BUILD)/mount.catena
TOOLS    := $(patsubst tools/%.c,$(BUILD)/tools/%,$(wildcard tools/*.c))
UNIT     := $(call tests_in,unit,test)
SIM      := $(call tests_in,sim,test)
FUZZ     := $(call tests_in,fuzz,fuzz)
# What belongs to a header is no program.
HELPERS  := $(foreach c,$(wildcard tests/cluster/*.c tests/posix/*.c tests/fault/*.c tests/bench/*.c), \
              $(if $(wildcard $(c:.c=.h)),,$(c:%.c=$(BUILD)/%))) $(BUILD)/tests/lossyfs/lossyfs

.PHONY: all programs tests test-programs check unit sim fuzz cluster soak asan asan-units tsan lint tidy format bench demo demo-stop install clean help
all: programs $(TOOLS) ## build every program into $(BUILD)/
programs: $(PROGRAMS)
tests: test-programs $(HELPERS)
test-programs: $(UNIT) $(SIM) $(FUZZ)

# What objects and programs are made with. All objects depend on the file of it, which is written only when that
# has changed: other flags in the same folder make everything anew. The compiler counts by its version, not by
# how it is called.
MADE_WITH := $(strip $(shell LC_ALL=C $(CC) -v 2>&1 | grep ' version ') $(CFLAGS_ALL) $(LDFLAGS_ALL) $(PKG_LIBS))
FLAGS     := $(BUILD)/flags
ifneq ($(MADE_WITH),$(strip $(file <$(FLAGS))))
.PHONY: $(FLAGS)
endif
$(FLAGS):
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(MADE_WITH))' >$@

# --- generated code -------------------------------------------------------------------------
$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: common/cluster/proto/%.proto
	@mkdir -p $(@D)
	$(call short,GEN,$<)protoc-c --proto_path=common/cluster/proto --c_out=$(BUILD)/gen $<
$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: master/log/%.proto $(PROTOS_common)
	@mkdir -p $(@D)
	$(call short,GEN,$<)protoc-c --proto_path=common/cluster/proto --proto_path=master/log --c_out=$(BUILD)/gen $<

$(BUILD)/gen/%.pb-c.o: $(BUILD)/gen/%.pb-c.c $(FLAGS) | $(GEN_H)
	$(call short,CC,$<)$(CC) $(filter-out -W%,$(CFLAGS_ALL)) -MMD -c -o $@ $<

# --- objects and libraries ------------------------------------------------------------------
$(BUILD)/%.o: %.c $(FLAGS) | $(GEN_H)
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Names of members repeat (store/read.o, chain/read.o). So an archive is always made anew: into one that is
# there, ar would put a member in the place of another of its name.
define part_lib
$(BUILD)/lib$(1).a: $(patsubst %.c,$(BUILD)/%.o,$(call part_src,$(1))) $(patsubst %.c,%.o,$(call gen_c,$(1)))
	@rm -f $$@
	$$(call short,AR,$$@)ar rcs $$@ $$^
endef
$(foreach p,$(PARTS),$(eval $(call part_lib,$(p))))

$(CLI): $(patsubst %.c,$(BUILD)/%.o,$(wildcard tools/cli/*.c tools/fsck/*.c))
	@rm -f $@
	$(call short,AR,$@)ar rcs $@ $^

# Every test has most of the libraries' objects in it: gold links them in a fifth of the time.
TEST_LD := $(if $(shell command -v ld.gold),-fuse-ld=gold)
link = $(call short,LD,$@)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS)
$(BUILD)/catena-master: $(BUILD)/master/shell/main.o $(BUILD)/libmaster.a $(BUILD)/libcommon.a
	$(link)
$(BUILD)/catena-chunkserver: $(BUILD)/chunkserver/server/main.o $(BUILD)/libchunkserver.a $(BUILD)/libcommon.a
	$(link)
$(BUILD)/mount.catena: $(BUILD)/fs/mount/main.o $(BUILD)/libfs.a $(BUILD)/libcommon.a
	$(link)
$(TOOLS): $(BUILD)/tools/%: $(BUILD)/tools/%.o $(LIBS)
	$(link)
$(UNIT) $(SIM) $(FUZZ) $(HELPERS): LDFLAGS_ALL += $(TEST_LD)
$(UNIT) $(SIM) $(FUZZ): $(BUILD)/%: $(BUILD)/%.o $(LIBS)
	$(link) -lcmocka
$(HELPERS): $(BUILD)/%: $(BUILD)/%.o $(LIBS)
	$(link)
$(BUILD)/tests/lossyfs/lossyfs: $(BUILD)/tests/lossyfs/names.o $(BUILD)/tests/lossyfs/data.o
$(BUILD)/tests/bench/state_bench: $(BUILD)/libmaster.a
# The objects of tests that each program has in it.
$(shell mkdir -p $(BUILD)/tests && awk -v build=$(BUILD) -f tests/pairs $$(find tests -name '*.[ch]') >$(BUILD)/tests/pairs.mk)
include $(BUILD)/tests/pairs.mk
.SECONDARY:

# The simulations of chains and clusters plant faults in these. One that is not found would be linked without them.
PLANTED_SRC := chunkserver/base/chain_faults.c chunkserver/chain/*.c chunkserver/record/op_ids.c \
               $(addprefix chunkserver/worker/,client_connections.c target_entry.c) \
               $(addprefix master/chains/,manager.c plan.c rules.c repair.c) \
               $(addprefix master/,servers/liveness.c older_store/accept_plan.c older_store/accept_decision.c) \
               master/leases/fences.c $(addprefix master/state/,accept.c lives.c)
$(foreach p,$(PLANTED_SRC),$(if $(wildcard $(p)),,$(error PLANTED_SRC: there is no $(p))))
PLANTED := $(patsubst %.c,$(BUILD)/planted/%.o,$(wildcard $(PLANTED_SRC)))
$(BUILD)/planted/%.o: %.c $(FLAGS) | $(GEN_H)
	@mkdir -p $(@D)
	$(call short,CC,$< with planted faults)$(CC) $(CFLAGS_ALL) -DCHAIN_PLANTED_FAULTS -MMD -MP -c -o $@ $<
$(BUILD)/tests/sim/chain/%.o $(BUILD)/tests/sim/cluster/%.o: CFLAGS_ALL += -DCHAIN_PLANTED_FAULTS
$(BUILD)/tests/sim/chain/chain_test: $(filter $(BUILD)/planted/chunkserver/%,$(PLANTED))
$(BUILD)/tests/sim/cluster/cluster_test: $(PLANTED)
$(BUILD)/tests/unit/master/log/command_log_test $(BUILD)/tests/unit/chunkserver/store/store_order_test: LDFLAGS_ALL += -Wl,--wrap=kv_flush
$(BUILD)/tests/unit/master/log/command_log_test: LDFLAGS_ALL += -Wl,--wrap=kv_write
$(BUILD)/tests/unit/master/check/check_unseen_test: LDFLAGS_ALL += -Wl,--wrap=kv_get,--wrap=kv_iter_open,--wrap=kv_iter_next
$(BUILD)/tests/unit/common/kv/kv_overlay_test $(BUILD)/tests/unit/common/kv/treap_test: LDFLAGS_ALL += -Wl,--wrap=malloc,--wrap=realloc
$(BUILD)/tests/unit/common/kv/kv_overlay_test: LDFLAGS_ALL += -Wl,--wrap=kv_write
$(BUILD)/tests/unit/master/replay/replay_test $(BUILD)/tests/unit/master/replay/replay_level_test: LDFLAGS_ALL += -Wl,--wrap=writev,--wrap=kv_space_low
$(BUILD)/tests/unit/master/leases/fences_test $(BUILD)/tests/unit/chunkserver/worker/worker_start_test: LDFLAGS_ALL += -Wl,--wrap=calloc
$(BUILD)/tests/sim/cluster/cluster_test: LDFLAGS_ALL += -Wl,--wrap=log_write,--wrap=log_enabled,--wrap=log_rate_ok

# Of the simulations, where each takes five times as long.
SANITIZED_SEEDS ?= 300

# --- tests ----------------------------------------------------------------------------------
ifdef T
# What a name stands for: programs (with or without its kind: unit/chain_test); none: a script, which needs the helpers.
t_name     = $(patsubst tests/%,%,$(basename $(1)))
t_programs = $(foreach kind,$(if $(findstring /,$(1)),$(firstword $(subst /, ,$(1))),unit sim fuzz), \
               $(call tests_named,$(kind),$(notdir $(1))) $(call tests_named,$(kind),$(notdir $(1))_test))
check: $(foreach t,$(T),$(or $(strip $(call t_programs,$(call t_name,$(t)))),all $(HELPERS)))
	tests/run --build $(BUILD) $(T)
else
check: all tests ## build and run all tests; with T=NAME only that one
	tests/run --build $(BUILD) unit sim fuzz cluster
endif
unit fuzz cluster: all tests ## one kind of tests only
	tests/run --build $(BUILD) $@
ifdef SEEDS
SEED0 ?= 1
sim: $(BUILD)/tests/sim/chain/chain_test $(BUILD)/tests/sim/cluster/cluster_test
	$(BUILD)/tests/sim/chain/chain_test --seed $(SEED0) --seeds $(SEEDS)
	$(BUILD)/tests/sim/cluster/cluster_test --seed $(SEED0) --seeds $(SEEDS)
else
sim: all tests ## simulations only; with SEEDS=N [SEED0=S] so many seeds of chain and cluster
	tests/run --build $(BUILD) $@
endif
asan: ## unit, sim, fuzz and cluster tests under AddressSanitizer and UBSan
	$(MAKE) BUILD=$(BUILD)-asan SANITIZE=address,undefined OPT="-O1 -g -fno-omit-frame-pointer" all tests
	CATENA_SIM_SEEDS=$(SANITIZED_SEEDS) tests/run --build $(BUILD)-asan unit sim fuzz cluster-smoke
asan-units: ## the same without clusters
	$(MAKE) BUILD=$(BUILD)-asan SANITIZE=address,undefined OPT="-O1 -g -fno-omit-frame-pointer" test-programs
	CATENA_SIM_SEEDS=$(SANITIZED_SEEDS) tests/run --build $(BUILD)-asan unit sim fuzz
tsan: ## the threaded unit tests under ThreadSanitizer
	$(MAKE) BUILD=$(BUILD)-tsan SANITIZE=thread OPT="-O1 -g" $$(tests/run --build $(BUILD)-tsan --list unit-threaded)
	tests/run --build $(BUILD)-tsan unit-threaded
soak: all tests ## long tests in turns for some time: make soak [HOURS=1] [TURNS="NAME..."]
	tests/soak --build $(BUILD) $(or $(HOURS),1) $(TURNS)
bench: all tests ## measure DIR, or a cluster of its own: make bench [DIR=path]
	tests/bench/run --build $(BUILD) $(DIR)

# By whom files are compiled, for editors: all but generated ones are, with the same flags.
compile_commands.json: $(GEN_H) ## what clangd and other tools of editors read
	@for f in $$(git ls-files '*.c'); do \
		printf '{"directory": "%s", "file": "%s", "command": "%s"},\n' "$(CURDIR)" "$$f" \
			'$(subst ",\",$(CC) $(CFLAGS_ALL)) -c '"$$f"; \
	done | sed '1s/^/[/; $$s/,$$/]/' >$@

SOURCES = $(shell git ls-files '*.c' '*.h')
lint: all ## formatting, floors (tools/layers), cppcheck, clang-tidy, manuals
	tools/lint --build $(BUILD)
format:
	clang-format -i $(SOURCES)
tidy: lint

# --- people ---------------------------------------------------------------------------------
demo: ## install packages, build, start a cluster and mount it at demo/mnt
	tools/demo
demo-stop: ## end the demo cluster and unmount it
	tools/localcluster down -d demo

install: all ## PREFIX=/usr/local DESTDIR=
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/sbin
	ln -sf mount.catena $(DESTDIR)$(PREFIX)/sbin/mount.fuse.catena # for "mount -o remount": so is its type in the table of mounts
	install -m 755 $(BUILD)/tools/fsck.catena $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(filter-out %/fsck.catena,$(TOOLS)) tools/catena-ca tools/localcluster $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(wildcard docs/man/*.8) $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 $(wildcard docs/man/*.1) $(DESTDIR)$(PREFIX)/share/man/man1

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan compile_commands.json
help:
	@sed -n 's/^\([a-z][a-z_.-]*\):.*## \(.*\)/  make \1 - \2/p' Makefile

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
