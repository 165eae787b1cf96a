# Sourced by benchmarks: times commands in turn, and prints medians as a table. The caller sets
# $work, a directory, and $repetitions.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

need() { command -v "$1" >/dev/null || die "$1 is missing: apt-get install ${2:-$1}"; }

# Takes priority over what else the machine does.
prioritize() {
    [ "$1" != 0 ] || return 0
    renice -n "$1" $$ >/dev/null
    # Where sessions share the processors, a process's own priority counts within its session only.
    [ ! -w /proc/$$/autogroup ] || echo "$1" >/proc/$$/autogroup
}

# run COMMAND INPUT OUTPUT: prints seconds, CPU seconds and the most memory of a process in MiB.
run() {
    local began=$EPOCHREALTIME ended
    /usr/bin/time -q -f '%U %S %M' -o "$work/time" bash -o pipefail -c "$1" <"$2" >"$3" ||
        die "$1 failed"
    ended=$EPOCHREALTIME
    awk -v s="$(awk "BEGIN { print $ended - $began }")" \
        '{ printf "%.4f %.2f %.1f\n", s, $1 + $2, $3 / 1024 }' "$work/time"
}

# table TITLE PEER ROW...: runs all rows, "NAME|COMMAND|INPUT[|OUTPUT]", in turn. PEER begins the
# name of the row whose speed counts as 1, and whose output as 1 where outputs are files. Before and
# after each run `before` and `after` are called, if the caller has such functions.
table() {
    local title=$1 peer=$2 row name command input output size results=$work/results i
    shift 2
    rm -f "$results"
    for ((i = 0; i < repetitions; i++)); do
        for row in "$@"; do
            IFS='|' read -r name command input output <<<"$row"
            ! declare -F before >/dev/null || before
            row=$(run "$command" "${input:-/dev/null}" "${output:-/dev/null}")
            size=$([ -f "$output" ] && stat -c %s "$output" || echo 0)
            printf '%s|%s %s\n' "$name" "$row" "$size" >>"$results"
            ! declare -F after >/dev/null || after
        done
    done
    printf '\n%-36s %9s %9s %8s %8s %8s\n' "$title" seconds 'CPU s' MiB "$peer=1" bytes
    awk -F '|' -v peer="$peer" '
    function median(list, column, a, v, n, i, j, t) {
        n = split(list, a, ";") - 1
        for (i = 1; i <= n; i++) { split(a[i], v, " "); a[i] = v[column] + 0 }
        for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j] < a[j - 1]; j--) {
            t = a[j]; a[j] = a[j - 1]; a[j - 1] = t
        }
        return (a[int((n + 1) / 2)] + a[int(n / 2) + 1]) / 2
    }
    !($1 in runs) { order[++rows] = $1 }
    { runs[$1] = runs[$1] $2 ";" }
    END {
        for (i = 1; i <= rows; i++) if (index(order[i], peer) == 1 && !speed) {
            speed = median(runs[order[i]], 1)
            size = median(runs[order[i]], 4)
        }
        for (i = 1; i <= rows; i++) {
            r = runs[order[i]]
            s = median(r, 1)
            bytes = size ? sprintf("%.3f", median(r, 4) / size) : "-"
            printf "%-36s %9.3f %9.2f %8.1f %8.2f %8s\n", order[i], s, median(r, 2), median(r, 3),
                speed / s, bytes
        }
    }' "$results"
}
