"""Secrets from files, as Docker and Kubernetes mount them: ``JWT_SECRET_KEY_FILE`` names the file with JWT_SECRET_KEY."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import EnvSettingsSource, PydanticBaseSettingsSource

SUFFIX = "_file"
MAX_BYTES = 65_536


def secrets_in_files(source: PydanticBaseSettingsSource) -> dict[str, Any]:
    """The secrets for which a variable of ``source`` names a file. An empty variable of that secret hides no file.

    Raises ``pydantic.ValidationError`` with the names of all that cannot be used and no value.
    """
    assert isinstance(source, EnvSettingsSource)  # noqa: S101  those of variables are
    variables, found, problems = source.env_vars, {}, []
    for name in secret_names(source.settings_cls.model_fields):
        if not (path := (variables.get(f"{name}{SUFFIX}") or "").strip()):
            continue
        try:
            if (variables.get(name) or "").strip():
                raise ValueError(f"{name.upper()} is set too")  # noqa: TRY301  joins the others
            found[name] = read_secret(Path(path))
        except ValueError as exc:
            why = PydanticCustomError("secret_file", "{why}", {"why": str(exc)})
            problems.append(InitErrorDetails(type=why, loc=(f"{name}{SUFFIX}",), input=None))
    if problems:
        raise ValidationError.from_exception_data(source.settings_cls.__name__, problems)
    return found


def secret_names(fields: Mapping[str, FieldInfo]) -> list[str]:
    """Every setting that is a secret, or holds some: what ``SecretStr`` keeps out of logs."""
    return [name for name, field in fields.items() if is_secret(field.annotation)]


def is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(is_secret, get_args(annotation)))


def read_secret(path: Path) -> str:
    """The text of a file less one final newline. Raises ``ValueError``, which quotes neither path nor text."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except (OSError, ValueError) as exc:
        raise ValueError(f"cannot be read ({type(exc).__name__})") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES:,} bytes")
    if not text.strip():
        raise ValueError("is empty")
    if not text.isprintable():
        raise ValueError("is not one line: it has a line break, a control character or a BOM")
    return text
