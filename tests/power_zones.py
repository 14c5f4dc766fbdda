"""Energy counters as Linux shows them, in a folder of a test."""

from pathlib import Path

TURN = 262_143_328_850


def power_zone(root: Path, number: str, name: str, microjoules: int) -> Path:
    """Make the zone `intel-rapl:<number>`; return the file with its counter."""
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{TURN}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"
