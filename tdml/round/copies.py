"""The coordinator's own copies of a job's stages, on its processor."""

from collections.abc import Iterable, Iterator

import torch

from tdml.node.stage import Stage
from tdml.round.job import Job

HOST = torch.device("cpu")
_BY_ONE_COPY = 8  # repetitions, of those before a ban: to make a copy may take longer than they do


class Copies:
    """Makes a copy of a stage when it is first asked for."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stages: dict[int, Stage] = {}

    def stage(self, index: int) -> Stage:
        """The copy of one stage."""
        if index not in self._stages:
            self._stages[index] = self._new(index)
        return self._stages[index]

    def drop(self, indices: Iterable[int]) -> None:
        """Forget the copies of some stages: a step has failed in them, and they may be changed."""
        for index in indices:
            self._stages.pop(index, None)

    def renewed(self, indices: Iterable[int], times: int) -> Iterator[int]:
        """Count `times` repetitions, and make new copies of some stages now and then: nodes have
        other copies, elsewhere in memory. The old copies are kept until the new ones are made, or
        these could take their places in memory."""
        indices = list(indices)
        for i in range(times):
            if i % _BY_ONE_COPY == 0:
                self._stages |= {index: self._new(index) for index in indices}
            yield i

    def freeze(self, indices: Iterable[int]) -> None:
        """Put the parameters that are not trained into some stages."""
        for index in indices:
            self.stage(index).freeze(self._job.frozen[index])

    def _new(self, index: int) -> Stage:
        stage = Stage(self._job.config, index, self._job.plan, HOST, HOST)
        stage.freeze(self._job.frozen[index])
        return stage
