"""Bodies of entries for tests, and Hypothesis's stories of whole jobs."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from tdml.rewards.entries import LARGEST_AMOUNT


def job(**changes):
    """Three replicas of two stages, where the second computes 60 %."""
    body = {
        "rounds": 10, "policy": "work", "pool": 3000, "stake": 5000, "audit_chance": 0.05,
        "shares": [400_000, 600_000], "samples": [100, 100, 100],
    }  # fmt: skip
    return body | changes


def roster(names, refused=(), **keys):
    """Each name with a key of its own, but for those in `keys`."""
    return {
        "keys": {name: f"key-{name}" for name in names} | keys,
        "given": True,
        "refused": dict.fromkeys(refused, "unknown key"),
    }


def verdict(
    replica, status="honest", blamed=(), nodes=None, samples=100, improvement=0, proven=False,
    forgiven=(), unfound=False, repeated=0,
):  # fmt: skip
    """On a replica with the nodes that it starts with, if none are given."""
    return {
        "replica": replica, "nodes": nodes or [f"r{replica}.s0", f"r{replica}.s1"],
        "status": status, "reason": "", "blamed": list(blamed), "samples": samples,
        "improvement": improvement, "proven": proven, "forgiven": list(forgiven),
        "unfound": unfound, "repeated": repeated,
    }  # fmt: skip


def ban(name):
    """Of a name with a key of its own."""
    return {"node": name, "key": f"key-{name}", "reason": ""}


def close(book, round):
    """Settle a round; its postings."""
    postings = book.settle(round)
    book.apply("rewards", round, {"postings": postings})
    book.apply("root", round, {})
    return postings


@dataclass
class Round:
    """What happens in a round, unless it makes the rounds after `resume` void."""

    verdicts: list = field(default_factory=list)
    bans: list = field(default_factory=list)
    resume: int | None = None


@dataclass
class Story:
    """A job."""

    job: dict
    roster: dict
    rounds: list


@st.composite
def stories(draw):
    """Jobs in which anything happens that a book has to bear, also what a coordinator would not
    do."""
    stages, replicas = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    names = [f"n{i}" for i in range(stages * replicas + draw(st.integers(0, 2)))]
    twins = {names[-1]: f"key-{names[0]}"} if draw(st.integers(0, 9)) == 0 else {}
    body = job(
        policy=draw(st.sampled_from(["work", "equal", "improvement", "verified"])),
        pool=draw(st.sampled_from([999_983, 1000, LARGEST_AMOUNT // 10, 7, 0])),
        stake=draw(st.sampled_from([5000, 500, LARGEST_AMOUNT, 1, 0])),
        shares=draw(
            st.lists(st.sampled_from([400_000, 250_001, 1, 0]), min_size=stages, max_size=stages)
        ),
        samples=[draw(st.sampled_from([100, 33, 0])) for _ in range(replicas)],
    )
    rounds = draw(st.lists(_rounds(names, stages, replicas), min_size=2, max_size=7))
    return Story(body, roster(names, **twins), rounds)


@st.composite
def _rounds(draw, names, stages, replicas):
    if draw(st.integers(0, 7)) == 0:
        return Round(resume=draw(st.integers(0, 5)))
    slots = draw(st.permutations(names))
    verdicts = []
    for replica in range(replicas):
        nodes = slots[replica * stages : (replica + 1) * stages]
        status = draw(st.sampled_from(["honest", "honest", "suspicious", "malicious", "lost"]))
        blamed = [n for n in nodes if draw(st.booleans())] if status == "malicious" else []
        samples = draw(st.sampled_from([100, 33, 10**6, 0]))
        improvement = draw(st.sampled_from([7, 20_011, 10**6, 0, -5000]))
        forgiven = [n for n in nodes if draw(st.integers(0, 4)) == 0]
        verdicts.append(
            verdict(
                replica,
                status,
                blamed,
                nodes,
                samples,
                improvement,
                forgiven=forgiven,
                unfound=draw(st.integers(0, 3)) == 0,
                repeated=draw(st.sampled_from([0, samples // 3, samples])),
            )
        )
    bans = [ban(name) for name in draw(st.lists(st.sampled_from(names), max_size=1))]
    return Round(draw(st.permutations(verdicts)), bans)
