"""Whether a batch can be cut as the pipeline's schedule wants it."""

from typing import TYPE_CHECKING

from tdml.errors import SettingError

if TYPE_CHECKING:
    from tdml.settings.schema import Config


def check_microbatches(config: "Config") -> None:
    """Raises SettingError where it cannot."""
    topology, micro, batch, accumulate = (
        config.topology, config.microbatches, config.train.batch_size, config.train.accumulate,
    )  # fmt: skip
    given = f"topology.microbatches={micro // accumulate}"
    if batch % (micro // accumulate):
        raise SettingError(f"{given} does not divide train.batch_size={batch}: change one of them")
    if topology.schedule == "interleaved_1f1b" and topology.stages == 1:
        raise SettingError(
            "topology.schedule=interleaved_1f1b needs topology.stages of at least 2: leave it out"
        )
    given += f" × train.accumulate={accumulate}" if accumulate > 1 else ""
    if topology.schedule != "gpipe" and micro < topology.stages:
        raise SettingError(
            f"{given} is less than topology.stages={topology.stages}, which the schedule "
            f"{topology.schedule} needs at least: raise topology.microbatches "
            f"(train.batch_size={batch} must be a multiple of it) or take topology.schedule=gpipe"
        )
    if topology.schedule == "interleaved_1f1b" and micro % max(1, micro // topology.stages):
        raise SettingError(
            f"{given}: interleaved_1f1b needs a multiple of {micro // topology.stages} "
            "(microbatches // stages)"
        )
