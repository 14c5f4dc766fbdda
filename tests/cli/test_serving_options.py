from tuningfork.cli.serving_options import SERVING_OPTIONS


def test_a_server_is_for_this_machine_if_nothing_else_is_said() -> None:
    defaults = {name: default for name, (_, default) in SERVING_OPTIONS.items()}
    assert (defaults["host"], defaults["is_open"], defaults["runs_root"]) == ("127.0.0.1", False, None)
    assert defaults["queue"] >= defaults["max_batch"] >= 1
