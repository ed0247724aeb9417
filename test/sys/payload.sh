#!/bin/bash
# test/sys/payload.sh: test/payload/suite.sh on this machine's /dev/kvm.
# time limit: 240
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
[ -r /dev/kvm ] && [ -w /dev/kvm ] || { echo "no access to /dev/kvm"; exit 77; }
exec "$tree/test/payload/suite.sh" kvm
