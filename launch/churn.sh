# Sourced by demo.sh: a job whose nodes come and go. Each is a process with a key of its own, as if it were a machine.
# Two join while it runs, one lies, one is killed, then the coordinator is; it comes back, so does the node that was
# killed, and another says goodbye. The report's timeline shows who held which slot.

run="$root/runs/churn-$(date +%Y%m%d-%H%M%S)"
settings=(experiment=churn "run_dir=$run" "$@")
ranks=7 # the coordinator, and three replicas of two stages
patience=240 # seconds for what the story waits for

say() { echo "demo: $1"; }

# Those that are started together learn from the environment who they are; torchrun would set the same.
rank() { # number, key, more settings
    exec env RANK=$1 WORLD_SIZE=$ranks LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
        "$venv/bin/python" -m tdml "${settings[@]}" identity.folder="$run.keys/$2" "${@:3}"
}

join() { exec "$venv/bin/tdml" join "127.0.0.1:$port" "${settings[@]}" identity.folder="$run.keys/$1" >>"$run.log" 2>&1; }

# Wait for something in the rounds' records or in what nodes say.
await() { # pattern
    local deadline=$((SECONDS + patience))
    until grep -qs "$1" "$run/metrics.jsonl" "$run.log"; do
        kill -0 "$coordinator" 2>/dev/null && [ $SECONDS -lt $deadline ] || {
            echo "demo: '$1' has not come: see $run.log" >&2
            exit 1
        }
        sleep 0.2
    done
}

last_round() { tail -n 1 "$run/metrics.jsonl" | grep -o '"round": [0-9]*' | head -n 1 | grep -o '[0-9]*$'; }

kill_now() { kill -KILL "$1" && { wait "$1" 2>/dev/null || true; }; }

end_all() { for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done; }

start() { # command: in the background, to be ended with this script
    "$@" &
    latest=$!
    processes+=("$latest")
}

mkdir -p "$run.keys"
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONUNBUFFERED=1
processes=()
trap end_all EXIT

start rank 0 coordinator
coordinator=$latest
declare -A process
for number in {1..6}; do
    name="r$(((number - 1) / 2)).s$(((number - 1) % 2))"
    start rank "$number" "$name" >>"$run.log" 2>&1
    process[$name]=$latest
done

await '"round": 1,'
say "two nodes join"
start join first
start join second
await 'spare0 has joined'
await 'spare1 has joined'

say "r2.s1 lies from round 3 on"
await '"malicious"'

say "r0.s1 is killed"
kill_now "${process[r0.s1]}"
await 'takes the place of r0.s1'

say "the coordinator is killed, and started again"
kill_now "$coordinator"
ranks=1 start rank 0 coordinator resume=true
coordinator=$latest

say "the machine of r0.s1 is back, with its key"
start join r0.s1
await 'takes part as r0.s1'
await "\"round\": $(($(last_round) + 1)),"

say "r1.s0 leaves"
kill -TERM "${process[r1.s0]}"
await 'takes the place of r1.s0'

status=0
wait "$coordinator" || status=$?
trap - EXIT
[ $status = 0 ] || exit $status
say "the timeline is in $("$venv/bin/tdml" report "$run")"
"$venv/bin/tdml" ledger verify "$run"
