# bench/soft_table.awk: the table of bench/soft.sh and bench/soft_debian.sh, of what bench/soft_run.py said: files named socle, tcg and native.
# -v figures=FILE: lines for bench/run.sh.  Status 1: an engine computed something else.
function ratio(a, b) { return a != "" && b > 0 ? sprintf("%.2f", a / b) : "-" }
{ engine = FILENAME; sub(/.*\//, "", engine) }
$1 == "smp" {
    v = sprintf("%.2f", $2 / $3)
    if (!(engine in smp) || v > smp[engine]) smp[engine] = v
    next
}
{
    if (!($1 in seen)) { seen[$1] = 1; order[++n] = $1 }
    k = $1 SUBSEP engine
    if (!(k in least) || $2 < least[k]) least[k] = $2
    if ($1 in check && check[$1] != $3) wrong[$1] = 1
    check[$1] = $3
}
END {
    printf "%-14s %9s %9s %9s %10s %12s\n", "load", "socle_s", "tcg_s", "native_s", "socle/tcg", "socle/native"
    for (i = 1; i <= n; i++) {
        name = order[i]
        s = least[name, "socle"]; t = least[name, "tcg"]; a = least[name, "native"]
        printf "%-14s %9s %9s %9s %10s %12s%s\n", name, s, t, a, ratio(s, t), ratio(s, a), name in wrong ? "  WRONG RESULT" : ""
        if (s != "" && t > 0) print "soft-" name "/tcg", ratio(s, t), "ratio" >figures
        if (name in wrong) status = 1
    }
    printf "%-14s %9s %9s %9s   (two threads by one: 1.00 is twice the work in the same time)\n", "smp", smp["socle"], smp["tcg"], smp["native"]
    exit status
}
