#!/usr/bin/env bash
# Encrypts and decrypts with sealcast, age and rage in turn, from memory, and prints medians and
# ratios to age. sealcast signs and checks as well, which the others cannot.
#
#   tests/bench/seal.sh [-s MIB] [-r REPETITIONS] [-n RECIPIENTS] [-p NICE] [-R]
#
# The first table is a file to /dev/null, the second the same between two `cat` in pipes, where a
# third `cat` in its place shows what the pipes themselves cost, the third a few bytes to many X25519 recipients, the last of whom opens. -p as in tests/bench/cast.sh. -R
# builds rage from crates.io into the target directory and measures it, too; so does a rage that is
# installed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=${CARGO_TARGET_DIR:-target}
sealcast=$(realpath -m "${SEALCAST:-$target/release/sealcast}")
mib=1024 repetitions=5 recipients=10000 nice=0 build_rage=
usage='usage: seal.sh [-s MIB] [-r REPETITIONS] [-n RECIPIENTS] [-p NICE] [-R]'
while getopts s:r:n:p:R option; do
    case $option in
        s) mib=$OPTARG ;;
        r) repetitions=$OPTARG ;;
        n) recipients=$OPTARG ;;
        p) nice=$OPTARG ;;
        R) build_rage=yes ;;
        *) echo "$usage" >&2 && exit 2 ;;
    esac
done

. tests/bench/table.sh
[ -x "$sealcast" ] || die "$sealcast is missing: cargo build --release"
need age
[ -x /usr/bin/time ] || die 'time is missing: apt-get install time'
if [ -n "$build_rage" ]; then
    cargo install --quiet --locked --root "$target/bench" --bin rage --version 0.12.1 rage
    PATH=$(realpath "$target/bench/bin"):$PATH
fi
tools=(sealcast age)
if command -v rage >/dev/null; then tools+=(rage); fi
prioritize "$nice"

work=$(mktemp -d /dev/shm/sealcast-bench-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export sealcast work
head -c "$((mib << 20))" /dev/urandom >"$work/data"
"$sealcast" keygen -q -o "$work/node.key" >"$work/node.pub"
"$sealcast" keygen -q --sign -o "$work/admin.key" >"$work/admin.pub"
"$sealcast" seal -q -R "$work/node.pub" -s "$work/admin.key" <"$work/data" >"$work/signed"
age -R "$work/node.pub" <"$work/data" >"$work/plain"

signed() { "$sealcast" seal -q -R "$work/node.pub" -s "$work/admin.key"; }
unsigned() { "$sealcast" seal -q --unsigned -R "$work/node.pub"; }
verified() { "$sealcast" open -q -i "$work/node.key" --from "$work/admin.pub"; }
unverified() { "$sealcast" open -q -i "$work/node.key" --unsigned; }
age_encrypt() { age -R "$work/node.pub"; }
age_decrypt() { age -d -i "$work/node.key"; }
rage_encrypt() { rage -e -R "$work/node.pub"; }
rage_decrypt() { rage -d -i "$work/node.key"; }
many_seal() { "$sealcast" seal -q --unsigned -R "$work/many.pub"; }
many_open() { "$sealcast" open -q -i "$work/node.key" --unsigned; }
many_age_encrypt() { age -R "$work/many.pub"; }
many_age_decrypt() { age -d -i "$work/node.key"; }
many_rage_encrypt() { rage -e -R "$work/many.pub"; }
many_rage_decrypt() { rage -d -i "$work/node.key"; }
plain_cat() { cat; }
between_pipes() { cat | "$1" | cat; }
export -f signed unsigned verified unverified age_encrypt age_decrypt rage_encrypt rage_decrypt \
    many_seal many_open many_age_encrypt many_age_decrypt many_rage_encrypt many_rage_decrypt \
    plain_cat between_pipes

# encrypt WRAPPER WORDS, decrypt WRAPPER WORDS: a table of one direction, with rage if there is one.
encrypt() {
    local rows=("sealcast seal, signed|$1 signed|$work/data"
        "sealcast seal, unsigned|$1 unsigned|$work/data" "age|$1 age_encrypt|$work/data")
    [ ${#tools[@]} = 2 ] || rows+=("rage|$1 rage_encrypt|$work/data")
    [ -z "$1" ] || rows+=("cat, which does nothing|$1 plain_cat|$work/data")
    table "encrypt $mib MiB$2" age "${rows[@]}"
}
decrypt() {
    local rows=("sealcast open, signed|$1 verified|$work/signed"
        "sealcast open, unsigned|$1 unverified|$work/plain" "age -d|$1 age_decrypt|$work/plain")
    [ ${#tools[@]} = 2 ] || rows+=("rage -d|$1 rage_decrypt|$work/plain")
    [ -z "$1" ] || rows+=("cat, which does nothing|$1 plain_cat|$work/plain")
    table "decrypt $mib MiB$2" age "${rows[@]}"
}

echo "Medians of $repetitions; 'age=1' is the speed as a multiple of age's."
encrypt '' ''
decrypt '' ''
encrypt between_pipes ' between pipes'
decrypt between_pipes ' between pipes'

echo hello >"$work/few"
for n in $((recipients / 10)) "$recipients"; do
    for ((i = 1; i < n; i++)); do "$sealcast" keygen -q | grep -o 'age1.*'; done >"$work/many.pub"
    cat "$work/node.pub" >>"$work/many.pub"
    many_age_encrypt <"$work/few" >"$work/many"
    rows=("sealcast seal|many_seal|$work/few" "age|many_age_encrypt|$work/few")
    [ ${#tools[@]} = 2 ] || rows+=("rage|many_rage_encrypt|$work/few")
    table "to $n recipients" age "${rows[@]}"
    rows=("sealcast open|many_open|$work/many" "age -d|many_age_decrypt|$work/many")
    [ ${#tools[@]} = 2 ] || rows+=("rage -d|many_rage_decrypt|$work/many")
    table "as the last of $n" age "${rows[@]}"
done
