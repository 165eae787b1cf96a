#!/usr/bin/env bash
# How large the release binary and the tree of its dependencies are.
#
#   tests/bench/sizes.sh

set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${SEALCAST:-${CARGO_TARGET_DIR:-target}/release/sealcast}
[ -x "$binary" ] || {
    echo "sizes.sh: $binary is missing: cargo build --release" >&2
    exit 1
}
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$binary"

# crates ARGUMENT ...: other packages than sealcast that a build takes in.
crates() {
    cargo tree --locked --prefix none --no-dedupe "$@" | awk '$1 != "sealcast" { print $1, $2 }' |
        sort -u | wc -l
}

printf 'release binary:            %9d bytes\n' "$(stat -c %s "$binary")"
printf 'the same, stripped:        %9d bytes\n' "$(stat -c %s "$stripped")"
printf 'direct dependencies:       %9d crates\n' "$(crates -e normal --depth 1)"
printf 'with theirs, in the binary:%9d crates\n' "$(crates -e normal)"
printf 'with what builds them:     %9d crates\n' "$(crates -e normal,build)"
printf 'with what tests them:      %9d crates\n' "$(crates -e normal,build,dev)"
