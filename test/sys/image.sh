#!/bin/bash
# test/sys/image.sh: `socle image` as a user has it; qemu-img, where it is installed, is the judge of what it makes.
# time limit: 1800
exec python3 "$(dirname "$0")/image.py"
