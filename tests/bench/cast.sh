#!/usr/bin/env bash
# Casts incompressible data to N receivers in network namespaces, with each tool in turn, and prints
# medians, and ratios to those of the other tools.
#
#   tests/bench/cast.sh [-s MIB] [-n "N ..."] [-c "CAP ..."] [-l "LOSS ..."] [-t "TOOL ..."]
#                       [-r REPETITIONS] [-p NICE]
#
# A cell is a number of receivers, a cap and a loss in percent. The cap is the rate of every link, as
# tc(8) writes it, or none. Before a cell is measured a small stream is cast in it by sealcast, and
# every copy compared byte for byte; what is measured goes to /dev/null (uftp writes files, in
# memory). TOOLs are sealcast, udpcast and uftp; the latter needs a loss of 0 until it has started, as
# udpcast does, so all get it 0.3 s after their data has begun.
#
# All nodes share the processors of one machine. Seconds are of the whole session, from the start of
# the first process to the end of the last, and of the data alone. The last column, other CPU
# seconds, is what the machine spent meanwhile on anything else, kernel work outside of processes
# included: rows in which it is large are worth little. -p -10 puts the benchmark before other work.
#
# Needs root, a release build, and the packages udpcast, uftp, nftables, ethtool, time. SEALCAST
# names another binary.

. "$(dirname "$0")/lab.sh"

mib=1024 numbers=4 caps=none losses='0 1' tools='sealcast udpcast' repetitions=3 nice=0
while getopts s:n:c:l:t:r:p: option; do
    case $option in
        s) mib=$OPTARG ;;
        n) numbers=$OPTARG ;;
        c) caps=$OPTARG ;;
        l) losses=$OPTARG ;;
        t) tools=$OPTARG ;;
        r) repetitions=$OPTARG ;;
        p) nice=$OPTARG ;;
        *) die 'usage: cast.sh [-s MIB] [-n "N ..."] [-c "CAP ..."] [-l "LOSS ..."]' \
            '[-t "TOOL ..."] [-r REPETITIONS] [-p NICE]' ;;
    esac
done
need udp-sender udpcast udp-receiver udpcast nft nftables ethtool ethtool /usr/bin/time time \
    openssl openssl
[ "${tools#*uftp}" = "$tools" ] || need uftp uftp

# The command line of each side of each tool; the pattern that marks the start of its data, and its
# end where that is not the end of the process.
sender() {
    local ids
    case $1 in
        sealcast) exec "$sealcast" cast -n "$receivers" -v <"$data" ;;
        udpcast) exec udp-sender --file "$data" --min-receivers "$receivers" --nokbd \
            --no-progress --start-timeout 30 --rexmit-hello-interval 300 ;;
        uftp)
            ids=$(for ((i = 2; i <= receivers + 1; i++)); do printf ',0x0A5400%02X' "$i"; done)
            exec uftp -R -1 -B 4194304 -I eth0 -H "${ids#,}" "$data"
            ;;
    esac
}
receiver() {
    case $1 in
        sealcast) exec "$sealcast" catch -q >"$2" ;;
        udpcast) exec udp-receiver --file "$2" --nokbd --no-progress --start-timeout 30 \
            --receive-timeout 30 ;;
        uftp)
            mkdir -p "$work/uftp.$3"
            exec uftpd -d -I eth0 -B 4194304 -D "$work/uftp.$3"
            ;;
    esac
}
begins() {
    case $1 in
        sealcast) echo 'sending to' ;;
        udpcast) echo 'Starting transfer' ;;
        uftp) echo 'Sending file' ;;
    esac
}
ends() { if [ "$1" = udpcast ]; then echo 'Transfer complete'; else echo 'exited'; fi; }

# run TOOL LOSS COPY: prints session seconds, data seconds, wire/payload, sender's CPU s, its RSS in
# MiB, receivers' CPU s (mean), their RSS (most), other CPU s. COPY is the name of the receivers'
# files, with their numbers behind, or nothing.
run() {
    local tool=$1 percent=$2 copy=$3 i began ended pids=() before after bad=0 shaker spent out
    local log=$work/sender.log
    rm -rf "$work"/*.time "$log" "$work"/uftp.*
    loss 0
    before=$(wire)
    spent=$(busy)
    began=$EPOCHREALTIME
    for ((i = 1; i <= receivers; i++)); do
        out=${copy:+$copy.$i}
        on "r$i" /usr/bin/time -q -f '%U %S %M' -o "$work/r$i.time" timeout -k 5 300 bash -c \
            "$(declare -f receiver); sealcast=$sealcast work=$work
            receiver $tool ${out:-/dev/null} $i" >"$work/r$i.log" 2>&1 &
        pids+=($!)
    done
    # Its receivers are daemons, which are there before.
    [ "$tool" != uftp ] || { sleep 0.5 && began=$EPOCHREALTIME; }
    loss_when "$(begins "$tool")" "$log" "$percent" &
    shaker=$!
    {
        on s /usr/bin/time -q -f '%U %S %M' -o "$work/s.time" timeout -k 5 300 bash -c \
            "$(declare -f sender); sealcast=$sealcast data=$data receivers=$receivers
            sender $tool" 2>&1 && echo exited || echo failed
    } </dev/null | stamp >"$log"
    # A daemon does not end by itself.
    [ "$tool" != uftp ] || for ((i = 1; i <= receivers; i++)); do
        on "r$i" pkill -x uftpd || true
    done
    for i in "${pids[@]}"; do wait "$i" || [ "$tool" = uftp ] || bad=1; done
    ended=$EPOCHREALTIME
    kill "$shaker" 2>/dev/null || true
    wait "$shaker" 2>/dev/null || true
    after=$(wire)
    spent=$(minus "$(busy)" "$spent")
    for ((i = 1; i <= receivers; i++)); do
        [ -z "$copy" ] || cmp -s "$data" "$copy.$i" || bad=1
    done
    if [ $bad = 1 ] || ! grep -q exited "$log"; then
        printf '%s at %s %% loss failed:\n' "$tool" "$percent" >&2
        tail -n 5 "$log" "$work"/r*.log >&2
        return 1
    fi
    awk -v data="$(minus "$(when "$(ends "$tool")" "$log")" "$(when "$(begins "$tool")" "$log")")" \
        -v session="$(minus "$ended" "$began")" -v wire=$(((after - before))) \
        -v payload="$(stat -c %s "$data")" -v n="$receivers" -v spent="$spent" '
        FILENAME ~ /s\.time$/ { cpu = $1 + $2; rss = $3 / 1024; next }
        { theirs += $1 + $2; if ($3 / 1024 > most) most = $3 / 1024 }
        END { printf "%s %s %.4f %.2f %.1f %.2f %.1f %.2f\n", session, data, wire / payload, cpu,
            rss, theirs / n, most, spent - cpu - theirs }' "$work/s.time" "$work"/r*.time
}

# noise MIB FILE
noise() {
    head -c "$(($1 << 20))" /dev/zero |
        openssl enc -aes-128-ctr -K 000102030405060708090a0b0c0d0e0f -iv 0 >"$2" 2>/dev/null
}

# cell TOOL COLUMN: the median of this cell.
cell() {
    awk -v t="$1" -v c="$2" '$1 == t { print $c }' "$results" | median
}

# table N CAP LOSS
table() {
    local tool column row
    for tool in $tools; do
        grep -q "^$tool " "$results" || continue
        row=()
        for column in 2 3 4 5 6 7 8 9; do row+=("$(cell "$tool" $column)"); done
        printf '%-3s %-8s %-6s %-9s %9.2f %8.2f %8.4f %7.2f %6.1f %8.2f %8.1f %7.1f\n' \
            "$1" "$2" "$3 %" "$tool" "${row[@]}"
    done
    for tool in $tools; do
        [ "$tool" != sealcast ] && grep -q "^$tool " "$results" || continue
        row=()
        for column in 2 3 4 5 6 7 8; do
            row+=("$(awk "BEGIN { printf \"%.2f\", \
                $(cell sealcast $column) / ($(cell "$tool" $column) + 1e-9) }")")
        done
        printf '%-3s %-8s %-6s %-9s %9s %8s %8s %7s %6s %8s %8s\n' "$1" "$2" "$3 %" \
            "/ $tool" "${row[@]}"
    done
}

priority "$nice"
lab_up "$(printf '%s\n' $numbers | sort -n | tail -n 1)"
noise "$mib" "$work/data"
noise 8 "$work/small"
results=$work/results
header=$(printf '%-3s %-8s %-6s %-9s %9s %8s %8s %7s %6s %8s %8s %7s' N cap loss tool 'session s' \
    'data s' wire 'CPU s' RSS 'rcv CPU' 'rcv RSS' other)
printf '%d MiB, medians of %d\n\n%s\n' "$mib" "$repetitions" "$header"
for receivers in $numbers; do
    for cap in $caps; do
        cap "$cap"
        for percent in $losses; do
            : >"$results"
            data=$work/small
            run sealcast "$percent" "$work/copy" >/dev/null || die 'a copy is wrong'
            rm -f "$work"/copy.*
            data=$work/data
            for ((repetition = 1; repetition <= repetitions; repetition++)); do
                for tool in $tools; do
                    if figures=$(run "$tool" "$percent" ''); then
                        printf '%s %s\n' "$tool" "$figures" | tee -a "$results" >&2
                    fi
                done
            done
            table "$receivers" "$cap" "$percent"
        done
    done
done
