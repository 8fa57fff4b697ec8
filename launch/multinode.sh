#!/usr/bin/env bash
# A job over ssh: one torchrun on every host, the coordinator on the first. Arguments before -- are hosts, as ssh knows
# them; the rest are settings:
#   bash launch/multinode.sh 10.0.0.1 10.0.0.2 10.0.0.3 -- topology.replicas=2 topology.stages=1
# There must be as many hosts as ranks: 1 + replicas × stages + spares; with RANKS=4 a host has four.
#
# Every host has TDML in the same folder, this one's if FOLDER does not say another, and there the interpreter PYTHON
# (.venv/bin/python). ADDRESS is where the others reach the first host, its own name unless it is said; PORT is 29500.
# SSH is the command that reaches a host (ssh). Ctrl-C ends all of them. A host that dies is replaced by a spare, one that
# comes later runs `tdml join`.
set -euo pipefail

hosts=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    hosts+=("$1")
    shift
done
[ "${#hosts[@]}" -gt 0 ] && [ "${1:-}" = -- ] || {
    echo "tdml: name the hosts, then --, then settings" >&2
    exit 1
}
shift
folder="${FOLDER:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
address="${ADDRESS:-${hosts[0]#*@}}" port="${PORT:-29500}"
read -ra ssh <<<"${SSH:-ssh -o BatchMode=yes -o ServerAliveInterval=15}"

agent() { # number
    local command=("${PYTHON:-.venv/bin/python}" -m torch.distributed.run --nnodes "${#hosts[@]}"
        --nproc-per-node "${RANKS:-1}" --node-rank "$1" --master-addr "$address" --master-port "$port" -m tdml "${@:2}")
    # With a terminal a host ends what it runs as soon as this end is gone.
    exec "${ssh[@]}" -tt "${hosts[$1]}" "cd $(printf %q "$folder") && exec $(printf '%q ' "${command[@]}")" </dev/null
}

agents=()
end_all() { for process in "${agents[@]}"; do kill -TERM "$process" 2>/dev/null || true; done; }
trap end_all EXIT INT TERM

for number in "${!hosts[@]}"; do
    agent "$number" "$@" &
    agents+=($!)
done
status=0
wait "${agents[0]}" || status=$?
[ "$status" -ne 255 ] || echo "tdml: ${ssh[*]} ${hosts[0]} failed: see whether that host can be reached so" >&2
exit "$status"
