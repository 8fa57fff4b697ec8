"""The environment of all tests, and of what they start."""

import atexit
import os
import shutil
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # the ranks of a test job share two cores
os.environ["TORCH_CPP_LOG_LEVEL"] = "FATAL"
os.environ["RES_OPTIONS"] = "timeout:1 attempts:2"  # as in every process of a job
# the keys of test nodes are none of the user's
os.environ["HOME"] = tempfile.mkdtemp(prefix="tdml-home-")
atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
