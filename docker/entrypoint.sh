#!/bin/sh
# Start a command with the caches that were filled when the image was built.
set -eu
cache=/var/cache/tdml
if [ ! -w "$cache" ]; then # a read-only container, or another user's: their owners take only what they may write
    copy=$(mktemp -d /dev/shm/tdml.XXXXXX)
    cp -R "$cache/." "$copy"
    cache=$copy
fi
export NUMBA_CACHE_DIR="$cache/numba" TRITON_CACHE_DIR="$cache/triton" MPLCONFIGDIR="$cache/matplotlib"
# numba's own choice, the very processor that the image was built on, is seldom the one that it runs on.
if [ -z "${NUMBA_CPU_NAME:-}" ]; then
    if grep -q -w avx2 /proc/cpuinfo; then NUMBA_CPU_NAME=x86-64-v3; else NUMBA_CPU_NAME=generic; fi
fi
export NUMBA_CPU_NAME NUMBA_CPU_FEATURES=
exec "$@"
