#!/usr/bin/env bash
# Runs two builds of sealcast in turn over the hot paths, and prints medians with the speed of the
# second as a multiple of the first's: what a change costs. 0.97 and more is within the noise of a
# quiet machine.
#
#   tests/bench/before_after.sh [-r REPETITIONS] [-p NICE] [-m MIB] [-w "WORD ..."]
#                               [-n "N ..."] [-c "CAP ..."] [-l "LOSS ..."] BEFORE AFTER
#
# WORDS are seal (file to /dev/null), pipe (between two cats), tree (pack and unpack /usr/share in
# memory) and cast (to N receivers in network namespaces, with each CAP and LOSS, as of cast.sh: 1 and
# 4, none and 1gbit, 0 and 1 unless chosen). Needs what tests/bench/cast.sh needs.

. "$(dirname "$0")/lab.sh"
. tests/bench/table.sh

repetitions=5 nice=0 mib=512 words='seal pipe tree cast'
numbers='1 4' caps='none 1gbit' losses='0 1'
usage='usage: before_after.sh [-r REPETITIONS] [-p NICE] [-m MIB] [-w "WORD ..."]
    [-n "N ..."] [-c "CAP ..."] [-l "LOSS ..."] BEFORE AFTER'
while getopts r:p:m:w:n:c:l: option; do
    case $option in
        r) repetitions=$OPTARG ;;
        p) nice=$OPTARG ;;
        m) mib=$OPTARG ;;
        w) words=$OPTARG ;;
        n) numbers=$OPTARG ;;
        c) caps=$OPTARG ;;
        l) losses=$OPTARG ;;
        *) die "$usage" ;;
    esac
done
shift $((OPTIND - 1))
[ $# = 2 ] || die "$usage"
builds=("before $(realpath "$1")" "after $(realpath "$2")")
prioritize "$nice"

# rows COMMAND INPUT [OUTPUT]: a row for each build, which is SEALCAST in the command.
rows() {
    local build
    lines=()
    for build in "${builds[@]}"; do
        lines+=("${build%% *}|${1//SEALCAST/${build#* }}|${2-}|${3-}")
    done
}

compare() {
    local title=$1
    shift
    rows "$@"
    table "$title" before "${lines[@]}"
}

# cast_to BUILD RECEIVERS: a whole session; every receiver must get everything.
cast_to() {
    local i pids=()
    for ((i = 1; i <= $2; i++)); do
        ip netns exec "$lab-r$i" timeout 120 "$1" catch -q >/dev/null &
        pids+=($!)
    done
    ip netns exec "$lab-s" timeout 120 "$1" cast -q -n "$2" <"$work/noise" || return
    for i in "${pids[@]}"; do wait "$i" || return; done
}

# Runs a command between two pipes.
piped() { cat | "$@" | cat; }

lab_up 4
head -c "$((mib << 20))" /dev/zero |
    openssl enc -aes-128-ctr -K 000102030405060708090a0b0c0d0e0f -iv 0 >"$work/noise" 2>/dev/null
old=${builds[0]#* }
(cd "$work" && "$old" keygen --sign -o admin.key >admin.pub && "$old" keygen -o node.key >nodes.txt)
export lab work
export -f cast_to piped

for word in $words; do
    case $word in
        seal | pipe)
            seal="SEALCAST seal -q -R $work/nodes.txt -s $work/admin.key"
            open="SEALCAST open -q -i $work/node.key --from $work/admin.pub"
            "$old" seal -q -R "$work/nodes.txt" -s "$work/admin.key" <"$work/noise" >"$work/sealed"
            [ $word = seal ] || seal="piped $seal" open="piped $open"
            compare "$word, $mib MiB" "$seal" "$work/noise"
            compare "$word: open" "$open" "$work/sealed"
            ;;
        tree)
            rm -rf "$work/tree" && mkdir "$work/tree"
            tar -C /usr/share -c --ignore-failed-read . 2>/dev/null |
                tar -C "$work/tree" -x 2>/dev/null || true
            compare "pack /usr/share" "SEALCAST pack -q $work/tree" '' "$work/archive"
            "$old" pack -q "$work/tree" >"$work/archive"
            after() { rm -rf "$work/out"; }
            compare unpack "SEALCAST unpack -q --no-sync -C $work/out" "$work/archive"
            unset -f after
            ;;
        cast)
            for receivers in $numbers; do
                for rate in $caps; do
                    cap "$rate"
                    for percent in $losses; do
                        loss "$percent"
                        compare "cast to $receivers, cap $rate, $percent % loss" \
                            "cast_to SEALCAST $receivers"
                    done
                done
            done
            ;;
        *) die "$usage" ;;
    esac
done
