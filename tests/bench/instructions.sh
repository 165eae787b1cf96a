#!/usr/bin/env bash
# Counts the instructions of the protocol's hot paths under callgrind, and compares them with those
# in instructions.txt beside this file: unlike times, they are the same on a busy machine.
#
#   tests/bench/instructions.sh [-b]
#
# A sender and a receiver pass 16 MiB in one process, of whose datagrams every hundredth is lost
# (tests/sim/hot.rs). Ends with 1 when a path takes over 5 % more than was written down; -b writes
# what was counted instead. Valgrind knows AVX2, but neither AVX-512 nor GFNI, so kernels that need


set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
known=tests/bench/instructions.txt
bless=
while getopts b option; do
    case $option in
        b) bless=yes ;;
        *) echo 'usage: instructions.sh [-b]' >&2 && exit 2 ;;
    esac
done
for tool in valgrind callgrind_annotate; do
    command -v "$tool" >/dev/null ||
        { echo "instructions.sh: $tool is missing: apt-get install valgrind" >&2 && exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo test --profile count --test sim --no-run 2>"$work/build" || { cat "$work/build" >&2 && exit 1; }
program=$(sed -n 's/.*Executable.*(\(.*\))/\1/p' "$work/build")
valgrind --tool=callgrind --callgrind-out-file="$work/out" \
    "$program" hot::hot --exact --ignored --nocapture >"$work/said" 2>/dev/null
read -r _ sent _ received _ feedbacks < <(grep '^sent ' "$work/said")
callgrind_annotate --inclusive=yes --threshold=100 "$work/out" >"$work/functions" 2>/dev/null

# path NAME FUNCTION COUNT: instructions of the function, with all that it calls, for each.
path() {
    awk -v name="$1" -v f="$2" -v n="$3" '
        index($0, f " [") || $NF ~ f "$" {
            gsub(/,/, "", $1)
            if ($1 + 0 > most) most = $1 + 0
        }
        END {
            if (!most) exit 1
            printf "%-40s %7d\n", name, most / n
        }' "$work/functions" || { echo "instructions.sh: no $2 in the profile" >&2 && exit 1; }
}
{
    path 'push, a datagram of data' 'sender::Sender::push' "$sent"
    path 'send a datagram' 'sender::Sender::poll_transmit' "$sent"
    path 'receive a datagram' 'receiver::Receiver::handle_datagram' "$received"
    path 'hand out, a datagram of data' 'receiver::Receiver::pull' "$received"
    path 'take a feedback' 'Sender>::handle_datagram' "$feedbacks"
} >"$work/now"
if [ -n "$bless" ]; then
    cp "$work/now" "$known"
fi
paste <(cut -c 1-48 "$known") <(cut -c 42-48 "$work/now") | awk '
    { was = $(NF - 1); now = $NF; worse = now > was * 1.05; bad += worse
      printf "%s  %+.1f %%%s\n", $0, (now / was - 1) * 100, worse ? "  WORSE" : "" }
    END { exit bad > 0 }'
