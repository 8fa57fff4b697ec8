"""What a run is doing at this moment."""

from tdml.cluster.fleet import RpcFleet
from tdml.round.engine import Engine


def status(engine: Engine, fleet: RpcFleet) -> str:
    """The phase of the round, how far its replicas are, and who is waited for; in one line."""
    steps = ""
    if engine.activity.endswith("train"):
        replicas = fleet.ready(replica.index for replica in engine.training)
        done = (f"r{r.index} {r.steps_done}/{engine.steps[r.index]}" for r in replicas)
        steps = f"{'  '.join(done)} steps"
    return "   ".join(filter(None, [engine.activity, steps, fleet.waiting]))
