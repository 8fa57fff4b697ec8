#!/usr/bin/env bash
# The tests. Arguments go to pytest: bash launch/test.sh -k pipeline
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$root"
exec "$venv/bin/python" -m pytest "$@"
