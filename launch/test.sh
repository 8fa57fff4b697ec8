#!/usr/bin/env bash
# The tests. Arguments go to pytest: bash launch/test.sh -k pipeline
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$root"
unset PYTHONDONTWRITEBYTECODE  # else each worker, and each process that tests start, compiles all anew
[ $# -gt 0 ] || set -- --numprocesses 4  # whole jobs wait half of their time: four at a time
exec "$venv/bin/python" -m pytest "$@"
