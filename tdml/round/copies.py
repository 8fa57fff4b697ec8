"""The coordinator's own copies of a job's stages, on its processor."""

from collections.abc import Iterable, Iterator

import torch

from tdml.node.stage import Stage
from tdml.round.job import Job

HOST = torch.device("cpu")
_BY_ONE_COPY = 8  # repetitions, of those before a ban: to make a copy may take longer than they do


class Copies:
    """Those of the stages that were asked for."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stages: dict[int, Stage] = {}

    def of(self, index: int) -> Stage:
        """One stage."""
        if index not in self._stages:
            self._stages[index] = self._new(index)
        return self._stages[index]

    def drop(self, indices: Iterable[int]) -> None:
        """Something was broken off in some stages."""
        for index in indices:
            self._stages.pop(index, None)

    def renewed(self, indices: Iterable[int], times: int) -> Iterator[int]:
        """Counts repetitions, which find other copies of some stages now and then: nodes have
        others, which lie elsewhere in memory. The former ones are kept until these are made, or
        they could take their places there."""
        indices = list(indices)
        for i in range(times):
            if i % _BY_ONE_COPY == 0:
                self._stages |= {index: self._new(index) for index in indices}
            yield i

    def freeze(self, indices: Iterable[int]) -> None:
        """Give stages what is not trained."""
        for index in indices:
            self.of(index).freeze(self._job.frozen[index])

    def _new(self, index: int) -> Stage:
        stage = Stage(self._job.config, index, self._job.plan, HOST, HOST)
        stage.freeze(self._job.frozen[index])
        return stage
