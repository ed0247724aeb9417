#!/bin/bash
# test/sys/debian.sh: the sample guest, Debian with systemd, boots on KVM (here, or in the lab), passes its selftest, powers off.
# time limit: 620
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
export SOCLE=$SOCLE_BUILD/src/cmd/socle
exec "$tree/test/lab/guest.sh" --cpus 2 --timeout 600
