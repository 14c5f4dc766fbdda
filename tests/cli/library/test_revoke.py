from tests.cli.library.conftest import Command


def test_a_revoked_version_is_marked_and_not_promoted(command: Command) -> None:
    assert "revoking needs a reason" in command("revoke", "words@1").stderr
    assert command("revoke", "words@1", "--reason", "leaks").stdout.startswith("Revoked   words@1")
    assert "revoked" in command("show", "words").stdout
    assert "Revoked   20" in command("show", "words@1").stdout
    assert "was revoked at" in command("promote", "words@1").stderr
