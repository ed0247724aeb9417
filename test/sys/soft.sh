#!/bin/bash
# test/sys/soft.sh: test/payload/suite.sh under the software engine.
# time limit: 240
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
exec "$tree/test/payload/suite.sh" soft
