import pytest

from tests.serving.http.conftest import make_service
from tests.serving.scripted_engine import ScriptedEngine
from tests.serving.served import reply_task, save_run, small_model, soft_prompt
from tuningfork.cli.serving import described
from tuningfork.serving.gate import Gate


def test_many_prompts_are_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    model, folder = small_model(), tmp_path_factory.mktemp("runs")
    run = save_run(folder / "run", model, reply_task(folder), soft_prompt(model)).path
    runs = {f"r{number}": run for number in range(8)}
    lines = described(make_service(model, ScriptedEngine(), runs))
    assert lines == [
        f"Model     tiny ({model.num_parameters / 1e6:.1f}M parameters, float32, cpu)",
        "Prompts   8: r0, r1, r2, r3, r4, r5 and 2 more",
        "Keys      none are needed",
    ]
    bare = described(make_service(model, ScriptedEngine(), gate=Gate(None)))
    assert bare[1] == "Prompts   0: only the base model"
