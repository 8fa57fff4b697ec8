#!/bin/sh
# Remove from a virtual environment what nothing runs: the packages' tests, C++ headers, and torch's test programs.
set -eu
cd "$1"/lib/python3*/site-packages
find . -type d -name tests -prune -exec rm -rf {} +
rm -rf torch/test torch/include
if [ -d torch/bin ]; then find torch/bin -type f ! -name torch_shm_manager -delete; fi
