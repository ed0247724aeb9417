#!/bin/bash
# test/sys/manual.sh: groff has nothing to say against the manual pages, and each has its name, as `man` shows it.
set -u
command -v groff >/dev/null || { echo "no groff"; exit 77; }
failed=0
for page in socle.1 socle-api.7 socle-box.1 socled.8; do
    file=$SOCLE_BUILD/src/cmd/$page
    said=$(groff -man -Tutf8 -ww -z "$file" 2>&1)
    if [ -n "$said" ]; then
        printf '%s: groff says:\n%s\n' "$page" "$said"
        failed=1
    fi
    if ! groff -man -Tascii -P-cbou "$file" 2>/dev/null | grep -A1 '^NAME$' | grep -q "^ *${page%.*} - "; then
        echo "$page: its NAME is not '${page%.*} - …'"
        failed=1
    fi
done
exit $failed
