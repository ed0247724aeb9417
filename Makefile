# Forwards only: each target is one line of a tool that says what it does.  CONTRIBUTING.md tells when to use which.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.PHONY: all run check check-full bench fuzz lint lint-fast fmt gdb trace cov docs map new-dev hooks guest screens clean install uninstall

all:            ## install what the build needs and build
	@tools/deps.sh build
	@tools/build.sh dev
run: all        ## boot the sample guest [E=kvm|soft]
	@E="$(E)" tools/run.sh
check:          ## build and run every test; ends with "N passed, N failed, N skipped"
	@tools/deps.sh build check guest lab
	@tools/check.py
check-full:     ## check, and thread sanitizer, all of lint
	@tools/deps.sh build check guest lab
	@tools/check.py --full
bench:          ## measure against the targets [B=name]
	@tools/deps.sh build bench guest lab
	@tools/build.sh rel
	@B="$(B)" bench/run.sh
fuzz:           ## fuzz one target: T=name [S=60]
	@tools/deps.sh build check
	@T="$(T)" S="$(S)" tools/fuzz.sh
lint: lint-fast ## layers, tidy, format, spelling, then clang-tidy on changed files [ALL=1]
	@tools/build.sh dev
	@ALL="$(ALL)" tools/lint.sh tidy
lint-fast:      ## what needs no build
	@tools/lint.sh layers house map format spelling
fmt:            ## format the sources
	@tools/lint.sh fmt
gdb: all        ## debug socle-vm: A="arguments"
	@gdb -q --args build/dev/src/cmd/socle-vm $(A)
trace: all      ## show trace points of a running machine: A="arguments"
	@build/dev/src/cmd/socle trace $(A)
cov:            ## coverage of the unit tests, as a table
	@tools/build.sh cov
	@tools/check.py --unit-only build/cov && gcovr -r . --object-directory build/cov -e '.*_test.c' -e src/testlib
docs: map       ## generate what is derived
map:            ## doc/map.md: one line for each source file
	@tools/map.py
new-dev:        ## a device from the template: N=foo
	@tools/new-dev.py "$(N)"
hooks:          ## check each commit before it is made
	@ln -sf ../../tools/pre-commit "$$(git rev-parse --git-dir)/hooks/pre-commit"
guest:          ## build the sample guest
	@tools/deps.sh guest
	@tools/guest/build.sh
screens:        ## take the pictures of doc/screens anew
	@tools/deps.sh build check guest
	@tools/build.sh dev
	@tools/screens.sh
install:        ## release build into DESTDIR and prefix
	@tools/deps.sh build
	@tools/build.sh rel
	@meson install -C build/rel --no-rebuild
uninstall:      ## remove what the last install made
	@ninja -C build/rel uninstall
clean:          ## remove every build tree
	@rm -rf build
