#!/bin/bash
# test/sys/debian.sh: the sample guest, Debian with systemd, boots on KVM (here, or in the lab), passes its selftest, powers off.
# A lab whose own kernel stands still is started anew (guest.sh); what a living lab says is the verdict.
# time limit: 1600
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
SOCLE=$SOCLE_BUILD/src/cmd/socle exec "$tree/test/lab/guest.sh" --cpus 2 --timeout 500
