import platform
from importlib.metadata import version

import torch

from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of


def test_environment_names_what_results_depend_on() -> None:
    described = describe_environment()
    assert described["python"] == platform.python_version()
    assert described["threads"] == str(torch.get_num_threads())
    assert described["torch"] == version("torch")
    assert described["tuningfork"] == version("tuningfork")


def test_model_is_bound_by_its_hashes(model: FrozenModel) -> None:
    record = describe_model(model)
    assert identity_of(record) == model.identity()
    assert (record.name, record.dtype, record.device, record.path) == (model.name, "float32", "cpu", "shared")
    assert record.num_parameters == model.num_parameters
