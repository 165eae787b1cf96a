# shellcheck shell=bash
# What the benchmarks share; to be sourced. One sender "s" and receivers "r1".."rN" in network
# namespaces of their own on a bridge; everything is made here and removed at the end.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

sealcast=$(realpath -m "${SEALCAST:-${CARGO_TARGET_DIR:-target}/release/sealcast}")
lab=scb$$
work=/dev/shm/sealcast-bench-$$
nodes=()

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# need TOOL PACKAGE ...
need() {
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || die "$1 is missing: apt-get install $2"
        shift 2
    done
    [ -x "$sealcast" ] || die "$sealcast is missing: cargo build --release"
    [ "$(id -u)" = 0 ] || die 'only root can make network namespaces'
}

# priority NICE: of the whole benchmark, before or after other work of the machine.
priority() {
    renice -n "$1" $$ >/dev/null
    # Where sessions share the processors, a process's own priority counts within its session only.
    [ ! -w /proc/$$/autogroup ] || [ "$1" = 0 ] || echo "$1" >/proc/$$/autogroup
}

# Runs a command on a node.
on() {
    local node=$1
    shift
    ip netns exec "$lab-$node" "$@"
}

lab_down() {
    local node pid
    for node in "${nodes[@]}"; do
        for pid in $(ip netns pids "$lab-$node" 2>/dev/null); do
            kill -9 "$pid" 2>/dev/null || true
        done
        ip netns del "$lab-$node" 2>/dev/null || true
    done
    rm -rf "$work"
}

# lab_up N
lab_up() {
    local node i=0
    mkdir "$work"
    trap lab_down EXIT
    trap 'exit 130' INT TERM
    nodes=(sw s)
    for ((i = 1; i <= $1; i++)); do nodes+=("r$i"); done
    for node in "${nodes[@]}"; do ip netns add "$lab-$node"; done
    # A firewall for bridges, where there is one, would cost more than the rest of the lab.
    for i in iptables ip6tables arptables; do
        on sw sysctl -qw "net.bridge.bridge-nf-call-$i=0" 2>/dev/null || true
    done
    # The querier's interval first, the querier after: then snooping is active at once.
    ip -n "$lab-sw" link add br0 type bridge mcast_snooping 1 mcast_query_response_interval 100
    ip -n "$lab-sw" link set br0 type bridge mcast_querier 1
    ip -n "$lab-sw" link set br0 up
    i=0
    for node in "${nodes[@]:1}"; do
        i=$((i + 1))
        ip -n "$lab-sw" link add "$node" type veth peer name eth0 netns "$lab-$node"
        ip -n "$lab-sw" link set "$node" master br0 up
        ip -n "$lab-$node" link set lo up
        ip -n "$lab-$node" link set eth0 up
        ip -n "$lab-$node" addr add "10.84.0.$i/24" brd + dev eth0
        ip -n "$lab-$node" route add 224.0.0.0/4 dev eth0
        # The sender's kernel cuts datagrams before the wire: loss and counters see single ones.
        on "$node" ethtool -K eth0 tso off gso off tx-udp-segmentation off >/dev/null
        # Receivers' kernels join them again, as the driver of a real card has them do; a veth does
        # so only when its peer seems to be no veth with uncut datagrams.
        [ "$node" = s ] || on "$node" ethtool -K eth0 gro on >/dev/null
        [ "$node" = s ] || on sw ethtool -K "$node" tso off >/dev/null
    done
    sleep 1.2
}

# loss PERCENT: drops this share of what goes to each receiver, independently.
loss() {
    local node
    {
        printf 'table netdev loss\ndelete table netdev loss\ntable netdev loss {\n'
        for node in "${nodes[@]:2}"; do
            printf 'chain %s { type filter hook egress device "%s" priority 0; policy accept;\n' \
                "$node" "$node"
            printf 'meta protocol ip numgen random mod 1000000 < %d drop; }\n' \
                "$(awk "BEGIN { print int($1 * 10000) }")"
        done
        printf '}\n'
    } | on sw nft -f -
}

# cap RATE: shapes every link in both directions, with queues as in a small switch; none lifts it.
cap() {
    local node
    for node in "${nodes[@]:1}"; do
        on "$node" tc qdisc del dev eth0 root 2>/dev/null || true
        on sw tc qdisc del dev "$node" root 2>/dev/null || true
        [ "$1" != none ] || continue
        on "$node" tc qdisc add dev eth0 root tbf rate "$1" burst 64kb limit 1mb
        on sw tc qdisc add dev "$node" root tbf rate "$1" burst 64kb limit 512kb
    done
}

# Bytes that the sender has put on the wire, with Ethernet headers.
wire() {
    on s cat /sys/class/net/eth0/statistics/tx_bytes
}

# Processor seconds that the whole machine has spent so far.
busy() {
    awk -v hz="$(getconf CLK_TCK)" '/^cpu / { print ($2 + $3 + $4 + $7 + $8) / hz; exit }' /proc/stat
}

# Puts the time before each line.
stamp() {
    local line
    while IFS= read -r line; do printf '%s %s\n' "$EPOCHREALTIME" "$line"; done
}

# when PATTERN FILE: the time of the first line that matches; nothing if there is none.
when() {
    awk -v p="$1" '$0 ~ p { print $1; exit }' "$2"
}

# loss_when PATTERN FILE PERCENT: switches the loss on 0.3 s after a line comes that matches.
# udpcast may hang for minutes when what it says at the start is lost, so both start without loss.
loss_when() {
    local tries
    for ((tries = 0; tries < 3000; tries++)); do
        if grep -q "$1" "$2" 2>/dev/null; then
            sleep 0.3
            loss "$3"
            return
        fi
        sleep 0.01
    done
}

minus() {
    awk "BEGIN { printf \"%.3f\", $1 - $2 }"
}

# The median of the numbers on standard input.
median() {
    sort -g | awk '{ a[NR] = $1 } END { print (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2 }'
}
