#!/usr/bin/env bash
# A job over ssh: one torchrun on every host, the coordinator on the first. Arguments before -- are hosts, as ssh knows
# them; the rest are settings:
#   bash launch/multinode.sh 10.0.0.1 10.0.0.2 10.0.0.3 -- topology.replicas=2 topology.stages=1
# There must be as many hosts as ranks: 1 + replicas × stages + spares; with RANKS=4 a host has four.
#
# Every host has TDML in the same folder, this one's if FOLDER does not say another, and there the interpreter PYTHON
# (.venv/bin/python). ADDRESS is where the others reach the first host, its own name unless it is said; PORT is 29500.
# SSH is the command that reaches a host (ssh). Ctrl-C ends all of them, within half a minute; a second one waits for none.
# A host that dies is replaced by a spare, one that comes later runs `tdml join`.
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
    trap '' INT # which the terminal of this end sends to all
    # With a terminal a host ends what it runs as soon as this end is gone.
    exec "${ssh[@]}" -tt "${hosts[$1]}" "cd $(printf %q "$folder") && exec $(printf '%q ' "${command[@]}")"
}

agents=() terminals=() told="" deadline=""
end_all() { # by Ctrl-C at their terminals: ssh itself ends at once when it is told to. The next time they are cut off
    if [ -z "$told" ]; then
        for terminal in "${terminals[@]}"; do printf '\003' >&"$terminal"; done
    else
        cut_off
    fi
    told=yes deadline=$((SECONDS + 45))
}
cut_off() { kill -TERM $(jobs -pr) 2>/dev/null || true; }
trap end_all INT TERM
trap cut_off EXIT

for number in "${!hosts[@]}"; do
    exec {terminal}<> <(:)
    terminals+=("$terminal")
    agent "$number" "$@" <&"$terminal" &
    agents+=($!)
done

first_is_gone() { # the others end with it, or because it has failed
    status=0
    wait "${agents[0]}" || status=$?
    [ -z "$told" ] || return 0
    deadline=$((SECONDS + 45))
    [ "$status" -eq 0 ] || end_all
    [ "$status" -ne 255 ] || echo "tdml: ${ssh[*]} ${hosts[0]} failed: see whether that host can be reached so" >&2
}
status=""
until [ -n "$status" ] && [ -z "$(jobs -pr)" ]; do
    sleep 0.5 || true
    [ -n "$status" ] || jobs -pr | grep -qx "${agents[0]}" || first_is_gone
    [ -z "$deadline" ] || [ "$SECONDS" -lt "$deadline" ] || end_all
done
exit "$status"
