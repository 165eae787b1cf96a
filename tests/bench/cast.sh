#!/usr/bin/env bash
# Casts incompressible data to N receivers in network namespaces, with sealcast and with udpcast in
# turn, compares every copy byte for byte, and prints medians and ratios.
#
#   tests/bench/cast.sh [-s MIB] [-n RECEIVERS] [-r REPETITIONS] [-l "LOSS ..."] [-p NICE]
#
# All nodes share the processors of one machine. The last column, other CPU seconds, is what the
# machine spent meanwhile on anything else, kernel work outside of processes included: rows in which
# it is large are worth little. -p -10 puts the benchmark before other work.
#
# Needs root, a release build, and the packages udpcast, nftables, ethtool, time. SEALCAST names
# another binary.

. "$(dirname "$0")/lab.sh"

mib=1024 receivers=4 repetitions=3 losses='0 1' nice=0
while getopts s:n:r:l:p: option; do
    case $option in
        s) mib=$OPTARG ;;
        n) receivers=$OPTARG ;;
        r) repetitions=$OPTARG ;;
        l) losses=$OPTARG ;;
        p) nice=$OPTARG ;;
        *) die 'usage: cast.sh [-s MIB] [-n RECEIVERS] [-r REPETITIONS] [-l "LOSS ..."] [-p NICE]' ;;
    esac
done
need udp-sender udpcast udp-receiver udpcast nft nftables ethtool ethtool /usr/bin/time time \
    openssl openssl

# The command line of each side of each tool; the pattern that marks the start of its data, and its
# end where that is not the end of the process.
sender() {
    case $1 in
        sealcast) exec "$sealcast" cast -n "$receivers" -v <"$work/data" ;;
        udpcast) exec udp-sender --file "$work/data" --min-receivers "$receivers" --nokbd \
            --no-progress --start-timeout 30 --rexmit-hello-interval 300 ;;
    esac
}
receiver() {
    case $1 in
        sealcast) exec "$sealcast" catch -q >"$2" ;;
        udpcast) exec udp-receiver --file "$2" --nokbd --no-progress --start-timeout 30 \
            --receive-timeout 30 ;;
    esac
}
begins() { if [ "$1" = sealcast ]; then echo 'sending to'; else echo 'Starting transfer'; fi; }
ends() { if [ "$1" = sealcast ]; then echo 'exited'; else echo 'Transfer complete'; fi; }

# run TOOL LOSS: prints data seconds, session seconds, wire/payload, sender's CPU s, RSS in MiB,
# receivers' CPU s (mean), other CPU s.
run() {
    local tool=$1 percent=$2 i began ended pids=() before after bad=0 shaker spent
    local log=$work/sender.log
    rm -f "$work"/copy.* "$work"/*.time "$log"
    loss 0
    before=$(wire)
    spent=$(busy)
    began=$EPOCHREALTIME
    for ((i = 1; i <= receivers; i++)); do
        on "r$i" /usr/bin/time -q -f '%U %S %M' -o "$work/r$i.time" timeout -k 5 300 \
            bash -c "$(declare -f receiver); sealcast=$sealcast; receiver $tool $work/copy.$i" \
            >"$work/r$i.log" 2>&1 &
        pids+=($!)
    done
    loss_when "$(begins "$tool")" "$log" "$percent" &
    shaker=$!
    {
        on s /usr/bin/time -q -f '%U %S %M' -o "$work/s.time" timeout -k 5 300 bash -c \
            "$(declare -f sender); sealcast=$sealcast work=$work receivers=$receivers; sender $tool" \
            2>&1 && echo exited || echo failed
    } </dev/null | stamp >"$log"
    for i in "${pids[@]}"; do wait "$i" || bad=1; done
    ended=$EPOCHREALTIME
    kill "$shaker" 2>/dev/null || true
    wait "$shaker" 2>/dev/null || true
    after=$(wire)
    spent=$(minus "$(busy)" "$spent")
    for ((i = 1; i <= receivers; i++)); do cmp -s "$work/data" "$work/copy.$i" || bad=1; done
    if [ $bad = 1 ] || ! grep -q exited "$log"; then
        printf '%s at %s %% loss failed:\n' "$tool" "$percent" >&2
        tail -n 5 "$log" "$work"/r*.log >&2
        return 1
    fi
    grep -h 'repair symbols\|datagrams sent' "$log" >&2 || true
    awk -v data="$(minus "$(when "$(ends "$tool")" "$log")" "$(when "$(begins "$tool")" "$log")")" \
        -v session="$(minus "$ended" "$began")" -v wire=$(((after - before))) \
        -v payload=$((mib << 20)) -v n="$receivers" -v spent="$spent" '
        FILENAME ~ /s\.time$/ { cpu = $1 + $2; rss = $3 / 1024; next }
        { theirs += $1 + $2 }
        END { printf "%s %s %.4f %.2f %.1f %.2f %.2f\n", data, session, wire / payload, cpu, rss,
            theirs / n, spent - cpu - theirs }' "$work/s.time" "$work"/r*.time
}

priority "$nice"
lab_up "$receivers"
head -c "$((mib << 20))" /dev/zero |
    openssl enc -aes-128-ctr -K 000102030405060708090a0b0c0d0e0f -iv 0 >"$work/data" 2>/dev/null

results=$work/results
for ((repetition = 1; repetition <= repetitions; repetition++)); do
    for percent in $losses; do
        for tool in sealcast udpcast; do
            if figures=$(run "$tool" "$percent"); then
                printf '%s %s %s\n' "$tool" "$percent" "$figures" | tee -a "$results" >&2
            fi
        done
    done
done

# cell TOOL LOSS COLUMN: the median.
cell() {
    awk -v t="$1" -v l="$2" -v c="$3" '$1 == t && $2 == l { print $c }' "$results" | median
}

printf '%d MiB to %d receivers, medians of %d\n\n' "$mib" "$receivers" "$repetitions"
printf '%-6s %-9s %8s %10s %8s %9s %9s %11s %8s\n' loss tool 'data s' 'session s' wire 'CPU s' \
    'RSS MiB' 'rcv CPU s' 'other s'
for percent in $losses; do
    ratios=()
    for column in 3 4 5 6 7 8; do
        ours=$(cell sealcast "$percent" $column)
        theirs=$(cell udpcast "$percent" $column)
        ratios+=("$(awk "BEGIN { printf \"%.2f\", $ours / $theirs }")")
    done
    for tool in sealcast udpcast; do
        printf '%-6s %-9s %8.2f %10.2f %8.4f %9.2f %9.1f %11.2f %8.1f\n' \
            "$percent %" $tool \
            "$(cell $tool "$percent" 3)" "$(cell $tool "$percent" 4)" "$(cell $tool "$percent" 5)" \
            "$(cell $tool "$percent" 6)" "$(cell $tool "$percent" 7)" \
            "$(cell $tool "$percent" 8)" "$(cell $tool "$percent" 9)"
    done
    printf '%-6s %-9s %8s %10s %8s %9s %9s %11s\n' "$percent %" ratio "${ratios[@]}"
done
