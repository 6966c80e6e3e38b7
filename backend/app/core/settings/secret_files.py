"""Secrets from files, as Docker and Kubernetes mount them: ``JWT_SECRET_KEY_FILE`` names the file with JWT_SECRET_KEY."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from pydantic_settings.sources import EnvSettingsSource

SUFFIX = "_file"
MAX_BYTES = 65_536


class SecretFiles(PydanticBaseSettingsSource):
    """The secrets for which ``variables``, by their names in lower case, name a file.

    Raises ``pydantic.ValidationError`` with the names of all that cannot be used and no value.
    """

    def __init__(self, settings: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings)
        self.variables = variables

    def __call__(self) -> dict[str, Any]:
        found, problems = {}, []
        for name in secret_names(self.settings_cls.model_fields):
            if not (path := (self.variables.get(f"{name}{SUFFIX}") or "").strip()):
                continue
            try:
                if (self.variables.get(name) or "").strip():
                    raise ValueError(f"{name.upper()} is set too")  # noqa: TRY301  joins the others
                found[name] = read_secret(Path(path))
            except ValueError as exc:
                why = PydanticCustomError("secret_file", "{why}", {"why": str(exc)})
                problems.append(InitErrorDetails(type=why, loc=(f"{name}{SUFFIX}",), input=None))
        if problems:
            raise ValidationError.from_exception_data(self.settings_cls.__name__, problems)
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not asked: all are read at once."""
        raise NotImplementedError


def with_secret_files(
    settings: type[BaseSettings], sources: Iterable[PydanticBaseSettingsSource]
) -> tuple[PydanticBaseSettingsSource, ...]:
    """``sources``, each that reads variables behind the files that it names: an empty variable hides no file."""
    return tuple(
        each
        for source in sources
        for each in (
            *(
                [SecretFiles(settings, source.env_vars)]
                if isinstance(source, EnvSettingsSource)
                else []
            ),
            source,
        )
    )


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
