#!/bin/bash
# test/sys/openapi.sh: the API's document, judged by the linter that Redocly publishes (a dependency of web/): OpenAPI 3.1, no name that is missing or twice.
# time limit: 300
set -eu
here=$(dirname "$0")
command -v node >/dev/null || { echo "no node"; exit 77; }
"$here/../../tools/web.py"
"$SOCLE_BUILD/src/cmd/openapi" >"$TMPDIR/openapi.json"
exec node "$here/openapi.mjs" "$TMPDIR/openapi.json"
