"""Print the dependencies in pyproject.toml, one a line; after `--without` follow the names of those
to leave out."""

import re
import sys
import tomllib
from pathlib import Path

left_out = sys.argv[2:]
project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for dependency in project["dependencies"]:
    if re.match(r"[\w-]+", dependency)[0] not in left_out:
        print(dependency)
