#!/usr/bin/env bash
# What only a GPU can tell, the most worth first: as many checks as MINUTES (30) allow. The result of each is saved as
# JSON in RUNS (runs/gpu), in a folder named after the hardware. What is saved is skipped the next time, what failed or
# was cut off is tried again. Arguments are names of checks: bash launch/gpu.sh ranking repeat. Without a GPU all of
# them run small on the processor, which shows that they work.
#
# Nothing is fetched. PYTHON is the interpreter (.venv's, else python3), with whatever torch it has. Packages that it
# lacks are taken from the folder WHEELS, made where there is a network, here of those that a machine with torch,
# torchvision, tensorboard, scikit-learn, numba and the like lacks, for Python 3.12:
#   pip wheel --no-deps -w wheels antlr4-python3-runtime==4.9.3
#   pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#       --platform manylinux2014_x86_64 -c constraints.txt -d wheels hydra-core omegaconf pyyaml cryptography cffi \
#       pycparser msgspec rfc8785 blake3
# DATA is the folder of CIFAR-10 (data), for the paper's runs; COMMIT names the version where git cannot.
set -euo pipefail

# Name, minutes that a check takes, minutes after which it is cut off, command. All ranks of a job share the GPU. The
# paper comes last, for it takes all that is left.
checks='
kernels         1   5  kernels
ranking         1   5  bench ranking --values $values
demo            2   6  job experiment=demo $resnet18
repeat          3   8  bench repeat "$run_dir" $four $resnet18 rounds=$rounds
repeat-bf16     3   8  bench repeat "$run_dir" $four $resnet18 rounds=$rounds $fast
repeat-gpt      2   6  bench repeat "$run_dir" $four $gpt rounds=$rounds
repeat-gpt-bf16 2   6  bench repeat "$run_dir" $four $gpt rounds=$rounds train.precision=bf16
kinds           2   6  bench kinds $resnet18 topology.stages=2
throughput      2   6  bench throughput "$run_dir" $one $resnet50 sync.local_steps=$steps
throughput-bf16 2   6  bench throughput "$run_dir" $one $resnet50 sync.local_steps=$steps $fast
throughput-gpt  2   6  bench throughput "$run_dir" $one $gpt sync.local_steps=$steps
nccl            1   4  nccl $resnet18 topology.replicas=1 topology.stages=2 device=cuda rounds=3
paper           2 999  paper "$papers" $fast $papers_with
'

fail() { echo "tdml: $1" >&2 && exit 1; }
cannot() { echo "$1" && exit 77; }

bench() { "$python" -m tdml.cli bench "$@" --json "$figures"; }

kernels() {
    "$python" -c 'import triton' || cannot "Triton is missing: builds of torch for GPUs bring it"
    local file=tests/trust/test_ranking_triton.py without=()
    # A GPU executes them itself; and the interpreter of Triton 3.6 fails beside numpy 2.4.
    [ "$device" = cpu ] || without=(--deselect "$file::test_all_that_is_executed_here_by_the_interpreter")
    "$python" -m pytest -q -p no:cacheprovider "$file" "${without[@]}"
}

job() { # settings
    "$python" -m tdml.cli train "$run_dir" "$@"
    bench outcome "$folder/$name"
}

nccl() { # settings
    [ "$gpus" -ge 2 ] || cannot "two ranks with NCCL need two GPUs: this machine has $gpus"
    job "$@"
    grep -q "stages connected by nccl" "$folder/$name.log"
}

paper() { # runs, and settings of all of them
    [ -d "$data/cifar-10-batches-py" ] || cannot "CIFAR-10 is missing: set DATA to the folder of cifar-10-batches-py"
    local run status=0 paper=("$python" -m tdml.cli paper --runs "$folder/paper")
    for run in $1; do
        [ $status = 130 ] || "${paper[@]}" --data "$data" "$run" "${@:2}" || status=$?
    done
    if compgen -G "$folder/paper/*/metrics.jsonl" >/dev/null; then
        "${paper[@]}" --results --docs "$folder"
        local played=("$folder"/paper/*/metrics.jsonl) # of one cut off in its first round there is nothing to say
        bench outcome "${played[@]%/metrics.jsonl}"
    fi
    return $status
}

stop() {
    stopped=yes
    kill "$running" 2>/dev/null || true
}

# Run a check, a command, for so many seconds at most, and save what comes of it.
try() {
    local begin=$SECONDS status=0
    figures="$folder/$name.figures" run_dir="run_dir='$folder/$name'"
    rm -f "$figures"
    # The handler lets a command that is told to stop come to its end.
    timeout -k 30 "$1" bash -ec "trap : TERM; $2" </dev/null >"$folder/$name.log" 2>&1 &
    running=$!
    wait "$running" || status=$?
    [ -z "$stopped" ] || { wait "$running" || status=$?; }
    "$python" -m tdml.bench.record "$folder" "$name" "$status" $((SECONDS - begin))
    [ -z "$stopped" ] || exit 130
    [[ $status = @(0|77|124) ]] || failed=yes
}

[[ "${MINUTES:=30}" =~ ^[0-9]+$ ]] || fail "MINUTES=$MINUTES: give a whole number"
deadline=$((SECONDS + 60 * 10#$MINUTES))
for name in "$@"; do
    grep -q "^$name " <<<"$checks" ||
        fail "$name is no check: choose among $(awk 'NF { print $1 }' <<<"$checks" | xargs)"
done
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
runs="$(realpath -m "${RUNS:-$root/runs/gpu}")" data="$(realpath -m "${DATA:-$root/data}")"
python="${PYTHON:-$root/.venv/bin/python}"
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is older than 3.11: set PYTHON to another"
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install -q --no-index --no-deps --upgrade --target "$runs/site" "$WHEELS"/*.whl
fi
export PYTHONPATH="$root:$runs/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
cd "$root"
machine="$("$python" -m tdml.bench.record "$runs")"
read -r device gpus folder <<<"$machine"

four="topology.replicas=4 topology.stages=1 sync.local_steps=6" one="topology.replicas=1 topology.stages=1"
fast="train.precision=bf16 train.channels_last=true" gpt="task=language data=text model=gpt train=adamw"
if [ "$device" = cuda ]; then
    resnet18="model=resnet18" resnet50="model=resnet50 train.batch_size=128" values=188000000 rounds=50 steps=390
    papers="resnet50-paper-1x1 resnet50-paper-2x2 resnet50-fast-1x1 resnet50-paper-4x2 resnet50-paper-8x2 \
        resnet50-paper-4x2-gaussian resnet50-paper-4x2-zero_gradient resnet50-paper-4x2-mean_shift"
    papers_with=""
else
    echo "no GPU is here: all checks run small on the processor"
    resnet18="model=cnn model.width=8 data.size=16" resnet50="$resnet18" values=2000000 rounds=2 steps=5
    gpt="$gpt data.context=32 model.layers=2 model.width=32"
    papers="resnet18-paper-1x1" papers_with="rounds=1 sync.local_steps=2"
fi
export python device gpus folder data name figures run_dir
export four one fast gpt resnet18 resnet50 values rounds steps papers papers_with
export -f bench cannot job kernels nccl paper

stopped="" failed=""
trap stop INT TERM
while read -r name least most command; do
    [ -n "$name" ] && { [ $# = 0 ] || [[ " $* " = *" $name "* ]]; } || continue
    left=$((SECONDS < deadline ? deadline - SECONDS : 0))
    if grep -qs '"outcome": "done"' "$folder/$name.json"; then
        echo "$name: already in $folder/$name.json"
    elif [ $(((left + 59) / 60)) -lt "$least" ]; then
        echo "$name: not begun: it takes $least min, and $left s are left"
    else
        try $((left < 60 * most ? left : 60 * most)) "$command"
    fi
done <<<"$checks"
[ -z "$failed" ]
