"""The share of data without a test half that is for validation and test."""

from tdml.errors import SettingError


def check_held_out(held_out: float) -> None:
    """Raises SettingError: it is no share of the samples that leaves some on both sides."""
    if not isinstance(held_out, float) or not 0 < held_out < 1:
        raise SettingError(f"data.held_out={held_out} must be a share between 0 and 1")
