"""Which format a prompt made elsewhere is in, by what lies there."""

from pathlib import Path
from typing import Literal, get_args

from tuningfork.errors import FormatError
from tuningfork.library.formats.caikit import DECODER, ENCODER
from tuningfork.library.formats.peft_config import BINARY_WEIGHTS, SETTINGS, WEIGHTS

Format = Literal["peft", "npy", "caikit"]
FORMATS: tuple[Format, ...] = get_args(Format)

_OF_FILES_IN_A_FOLDER: dict[str, Format] = {SETTINGS: "peft", DECODER: "caikit", ENCODER: "caikit"}
_BEGINNINGS: dict[bytes, Format] = {b"\x93NUMPY": "npy", b"PK\x03\x04": "caikit"}
_EXPECTED = (
    f"expected a PEFT folder ({SETTINGS}), a NumPy array (.npy), or a folder with {DECODER} or {ENCODER}; "
    "--format says which it is"
)


def find_format(path: Path) -> Format:
    """Return the format of the prompt at `path`: of a folder by the files in it, of a file by how it begins.

    Raises:
        FormatError: if there is nothing, or nothing known.
    """
    if path.is_dir():
        for name, found in _OF_FILES_IN_A_FOLDER.items():
            if (path / name).exists():
                return found
        nested = sorted(inner.name for inner in path.iterdir() if (inner / SETTINGS).exists())
        hint = f"did you mean its subfolder {nested[0]}?" if nested else _EXPECTED
        raise FormatError(f"{path}: no {SETTINGS} and nothing else that is known; {hint}")
    if not path.is_file():
        raise FormatError(f"{path}: no such file or folder; {_EXPECTED}")
    if path.name in (SETTINGS, WEIGHTS, BINARY_WEIGHTS):
        raise FormatError(f"{path}: part of a PEFT folder; name the folder, {path.parent}")
    try:
        with path.open("rb") as file:
            start = file.read(max(map(len, _BEGINNINGS)))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error})") from error
    for beginning, found in _BEGINNINGS.items():
        if start.startswith(beginning):
            return found
    raise FormatError(f"{path}: begins like no format that is known; {_EXPECTED}")
