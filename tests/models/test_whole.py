import random

import numpy as np
import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models import whole
from tdml.models.plan import Plan, layouts
from tdml.models.whole import initial_model, outline
from tests.models.user_models import shares_a_table


def settings(function):
    return {"_target_": f"{function.__module__}.{function.__name__}"}


# Users' own models, which do not only ask for shapes


def reads_values():
    rates = [rate.item() for rate in torch.linspace(0, 0.1, 2)]
    return nn.Sequential(nn.Linear(4, 4), *(nn.Dropout(rate) for rate in rates))


def from_numpy():
    table = torch.from_numpy(np.arange(12, dtype=np.float32).reshape(4, 3))
    model = nn.Sequential(nn.Embedding.from_pretrained(table, freeze=False), nn.Linear(3, 4))
    model[1].register_buffer(
        "mean", torch.from_numpy(np.full(3, 0.3, dtype=np.float32)), persistent=False
    )
    return model


def drawn():
    """Its form is drawn from all three generators."""
    widths = [random.randint(1, 9), int(np.random.randint(1, 9)), int(torch.randint(1, 9, ()))]
    return nn.Sequential(*(nn.Linear(width, width) for width in widths))


def drawn_by_numpy():
    return nn.Sequential(nn.Linear(4, int(np.random.randint(1, 99))))


def tied_after_reading():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Dropout(torch.zeros(1).item()))
    model[1].weight = model[0].weight
    return model


def plain():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))


def orthogonal():
    """Torch's own, which asks whether its first weights are."""
    return nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(4, 6)), nn.Linear(6, 4))


def fails():
    raise OSError("no such file")


def forms(model):
    return {name: tuple(tensor.shape) for name, tensor in whole.tensors_of(model).items()}


@pytest.mark.parametrize(
    "make",
    [plain, reads_values, from_numpy, drawn, drawn_by_numpy, tied_after_reading, orthogonal],
)
def test_every_node_makes_the_form_that_the_coordinators_model_has(make):
    initial = initial_model(settings(make), 5)
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        assert forms(outline(settings(make), 5)) == forms(initial)
    assert all(tensor.device.type == "cpu" for tensor in whole.tensors_of(initial).values())


def test_the_form_alone_takes_no_memory():
    assert all(tensor.is_meta for tensor in whole.tensors_of(outline(settings(plain), 0)).values())


@pytest.mark.parametrize("make", [from_numpy, reads_values, tied_after_reading])
@pytest.mark.parametrize("cuts", [(), (1,)])
def test_the_weights_arrive_whatever_the_constructor_does(make, cuts):
    if make is tied_after_reading and cuts:
        return
    sender, plan = initial_model(settings(make), 5), Plan(cuts, (), (), 1)
    flats = whole.flatten(sender, layouts(plan, sender, len(cuts) + 1))
    arrived = {}
    for stage, flat in enumerate(flats):
        (part,) = plan.cut(outline(settings(make), 5), [stage])
        part.materialise(torch.device("cpu"))
        (layout,) = layouts(Plan((), (), (), 1), part.module, 1)
        tensors = part.tensors(part.parameters) + part.tensors(part.buffers)
        layout.scatter(flat, tensors)
        arrived |= dict(zip([*part.parameters, *part.buffers], tensors, strict=True))
    sent = whole.tensors_of(sender)
    assert arrived.keys() == sent.keys()
    for name, tensor in sent.items():
        assert torch.equal(arrived[name], tensor), name


def test_what_fails_on_the_host_too_is_the_users_mistake():
    with pytest.raises(SettingError, match=r"cannot be used: .*no such file"):
        outline(settings(fails), 0)


def test_copies_of_a_shared_buffer_are_what_the_first_part_holds():
    model = initial_model(settings(shares_a_table), 0)
    stages = layouts(Plan((1, 2), (), (), 1), model, 3)
    flats = whole.flatten(model, stages)
    assert [flat[6:].tolist() for flat in flats] == [[1, 1], [], [1, 1]]
    flats[0][7], flats[2][6] = 5.0, 9.0
    before = flats[2][:6].clone()
    whole.agree(stages, flats)
    assert [flat[6:].tolist() for flat in flats] == [[1, 5], [], [1, 5]]
    assert torch.equal(flats[2][:6], before)
    whole.write(model, stages, flats)
    assert model[0].table.tolist() == [1, 5]
