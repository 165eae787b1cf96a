#!/usr/bin/env bash
# Sends a tree to N receivers in network namespaces through the whole pipeline of sealcast, and
# through tar, zstd, openssl and udpcast in turn, compares every copy, and prints medians and ratios.
#
#   tests/bench/pipeline.sh [-t TREE] [-m MIB] [-n RECEIVERS] [-r REPETITIONS] [-p NICE]
#
# The tree is copied to memory first, up to MIB of it. sealcast signs, checks and commits the tree
# where the others only encrypt; neither waits for the file system. See tests/bench/cast.sh for what
# is needed and what -p does.

. "$(dirname "$0")/lab.sh"

tree=/usr/share mib=700 receivers=4 repetitions=3 nice=0
while getopts t:m:n:r:p: option; do
    case $option in
        t) tree=$OPTARG ;;
        m) mib=$OPTARG ;;
        n) receivers=$OPTARG ;;
        r) repetitions=$OPTARG ;;
        p) nice=$OPTARG ;;
        *) die 'usage: pipeline.sh [-t TREE] [-m MIB] [-n RECEIVERS] [-r REPETITIONS] [-p NICE]' ;;
    esac
done
need udp-sender udpcast udp-receiver udpcast nft nftables ethtool ethtool /usr/bin/time time \
    openssl openssl zstd zstd tar tar

priority "$nice"
lab_up "$receivers"
export sealcast receivers work

# Whole entries of the tree, one after the other, until there is enough.
mkdir "$work/tree" "$work/out"
shopt -s dotglob nullglob
for entry in "$tree"/*; do
    cp -a "$entry" "$work/tree/"
    [ "$(du -sm "$work/tree" | cut -f1)" -lt "$mib" ] || break
done

for ((i = 1; i <= receivers; i++)); do
    "$sealcast" keygen -q -o "$work/node$i.key" >>"$work/nodes.txt"
done
"$sealcast" keygen -q --sign -o "$work/admin.key" >"$work/admin.pub"
openssl rand -hex 32 >"$work/secret"

cat >"$work/sealcast-send" <<'END'
"$sealcast" pack "$work/tree" |
    "$sealcast" seal -q -R "$work/nodes.txt" -s "$work/admin.key" |
    "$sealcast" cast -n "$receivers"
END
cat >"$work/sealcast-receive" <<'END'
"$sealcast" catch -q |
    "$sealcast" open -q -i "$work/node$1.key" --from "$work/admin.pub" |
    "$sealcast" unpack -q --no-sync -C "$work/out/$1"
END
cat >"$work/udpcast-send" <<'END'
tar -c --sparse --xattrs -C "$work/tree" . | zstd -q -T0 |
    openssl enc -aes-256-ctr -pbkdf2 -pass "file:$work/secret" |
    udp-sender --min-receivers "$receivers" --nokbd --no-progress --start-timeout 30 \
        --rexmit-hello-interval 300
END
cat >"$work/udpcast-receive" <<'END'
mkdir "$work/out/$1"
udp-receiver --nokbd --no-progress --start-timeout 30 --receive-timeout 30 |
    openssl enc -d -aes-256-ctr -pbkdf2 -pass "file:$work/secret" |
    zstd -q -d | tar -x -p --xattrs --numeric-owner -C "$work/out/$1"
END

# run TOOL: prints seconds, wire MiB, sender's CPU s, mean of the receivers' CPU s, other CPU s.
run() {
    local tool=$1 i began ended before after spent pids=() bad=0
    rm -rf "$work"/out/* "$work"/*.time
    before=$(wire)
    spent=$(busy)
    began=$EPOCHREALTIME
    for ((i = 1; i <= receivers; i++)); do
        on "r$i" /usr/bin/time -q -f '%U %S' -o "$work/r$i.time" timeout -k 5 300 \
            bash -o pipefail "$work/$tool-receive" "$i" >"$work/r$i.log" 2>&1 </dev/null &
        pids+=($!)
    done
    on s /usr/bin/time -q -f '%U %S' -o "$work/s.time" timeout -k 5 300 \
        bash -o pipefail "$work/$tool-send" >"$work/s.log" 2>&1 </dev/null || bad=1
    for i in "${pids[@]}"; do wait "$i" || bad=1; done
    ended=$EPOCHREALTIME
    spent=$(minus "$(busy)" "$spent")
    after=$(wire)
    for ((i = 1; i <= receivers; i++)); do
        diff -r --no-dereference "$work/tree" "$work/out/$i" >/dev/null || bad=1
    done
    if [ $bad = 1 ]; then
        printf '%s failed:\n' "$tool" >&2
        tail -n 5 "$work"/*.log >&2
        return 1
    fi
    awk -v seconds="$(minus "$ended" "$began")" -v wire=$((after - before)) -v n="$receivers" \
        -v spent="$spent" '
        FILENAME ~ /s\.time$/ { cpu = $1 + $2; next }
        { theirs += $1 + $2 }
        END { printf "%s %.1f %.2f %.2f %.2f\n", seconds, wire / 1048576, cpu, theirs / n,
            spent - cpu - theirs }' "$work/s.time" "$work"/r*.time
}

results=$work/results
for ((repetition = 1; repetition <= repetitions; repetition++)); do
    for tool in sealcast udpcast; do
        if figures=$(run $tool); then
            printf '%s %s\n' $tool "$figures" | tee -a "$results" >&2
        fi
    done
done

# cell TOOL COLUMN: the median.
cell() {
    awk -v t="$1" -v c="$2" '$1 == t { print $c }' "$results" | median
}

printf '%s MiB in %s objects to %d receivers, medians of %d\n\n' \
    "$(du -sm --apparent-size "$work/tree" | cut -f1)" "$(find "$work/tree" | wc -l)" \
    "$receivers" "$repetitions"
printf '%-22s %8s %9s %8s %9s %8s\n' pipeline seconds 'wire MiB' 'CPU s' 'rcv CPU s' 'other s'
for tool in sealcast udpcast; do
    name=$tool
    [ $tool = sealcast ] || name='tar+zstd+enc+udpcast'
    printf '%-22s %8.2f %9.1f %8.2f %9.2f %8.1f\n' "$name" "$(cell $tool 2)" "$(cell $tool 3)" \
        "$(cell $tool 4)" "$(cell $tool 5)" "$(cell $tool 6)"
done
ratios=()
for column in 2 3 4 5; do
    ratios+=("$(awk "BEGIN { printf \"%.2f\", $(cell sealcast $column) / $(cell udpcast $column) }")")
done
printf '%-22s %8s %9s %8s %9s\n' ratio "${ratios[@]}"
