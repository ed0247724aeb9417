#!/bin/bash
# test/sys/cli.sh: `socle run` and `socle ctl` with a small program in the place of socle-vm, so that no machine is needed.
# time limit: 100
exec python3 "$(dirname "$0")/cli.py"
