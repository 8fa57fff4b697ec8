"""What TensorBoard shows of a run."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html

from tdml import config as settings
from tdml.monitor.tensorboard import TensorBoard
from tdml.trust.judgement import lost
from tests.monitor.test_record import played

_TEXTS = [
    "![pixel](http://other.example/1.png)",
    "[sign in again](http://other.example)",
    '<img src="http://other.example/1.png">',
    "first\n\n![pixel](http://other.example/1.png)",
    "# loud",
]


def test_what_a_contributor_says_is_shown_as_it_is(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, settings.load([]), first_round=1)
    for text in _TEXTS:
        board.add(played(lost(0, (), "late"), notes=[f"replica 0 lost: r0.s0: {text}", text]))
    board.close()

    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    notes = [event.tensor_proto.string_val[0] for event in read.Tensors("notes/text_summary")]
    assert len(notes) == 2 * len(_TEXTS)
    for note in notes:
        page = markdown_to_safe_html(note)
        assert page.startswith("<pre><code>") and page.count("<") == 4
