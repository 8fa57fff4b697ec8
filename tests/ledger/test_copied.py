"""A ledger's file, copied while it is written."""

import shutil

from tdml.ledger.reader import read
from tests.ledger import chains


def test_the_file_alone_has_all_of_it_while_the_run_goes_on(path, ledger, tmp_path):
    """Contributors are told to ask for that one; a coordinator may have been killed."""
    chains.play(ledger, 1)
    shutil.copyfile(path, tmp_path / "copy.db")
    with read(tmp_path / "copy.db") as reader:
        assert len(reader.entries()) == len(ledger.entries()) > 5
