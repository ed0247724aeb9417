#!/bin/bash
# test/sys/debian.sh: the sample guest, Debian with systemd, boots on KVM (here, or in the lab), passes its selftest, powers off.
# A lab whose own kernel stands still is started anew (guest.sh); what a living lab says is the verdict.  A lab that stands still each
# time, or whose time is over on a slow machine, judges nothing.
# time limit: 900
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
SOCLE=$SOCLE_BUILD/src/cmd/socle "$tree/test/lab/guest.sh" --cpus 2 --timeout 400
status=$?
[ $status -ne 125 ] || { echo "not judged: the lab stood still, or its time was over"; exit 77; }
exit $status
