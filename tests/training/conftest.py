import pytest

from tests.tiny_models import tiny_model
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.registry import SOFT_METHODS


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


@pytest.fixture(params=SOFT_METHODS.values(), ids=lambda method: str(method.name))
def method(request: pytest.FixtureRequest) -> SoftMethod:
    """Every method in turn."""
    found: SoftMethod = request.param
    return found


@pytest.fixture
def any_method() -> SoftMethod:
    """One method, where it does not matter which."""
    return next(iter(SOFT_METHODS.values()))
