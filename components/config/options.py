"""Sets of options, and how a mistake in one is reported: the place, the key, and what is allowed."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from components.errors import UserError

T = TypeVar("T", bound=BaseModel)
NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"  # of studies and their entries: nothing else reaches a shell line
LONGEST = 500  # characters of what was written that an error repeats
Name = Annotated[str, Field(pattern=NAME)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator of random numbers takes


class Options(BaseModel):
    """A frozen set of options; a key that it does not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is expected: `epochs: yes` would be one epoch."""
        booleans = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, bool)]
        if booleans and not _takes_booleans(cls.model_fields[str(info.field_name)].annotation):
            raise UserError(f"must not be {str(booleans[0]).lower()}, which is for options that are on or off")
        return value


def _takes_booleans(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(_takes_booleans(each) for each in get_args(annotation))


class Choice(BaseModel):
    """A kind (the name of a file) and its options, which that file's `Params` checks."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class Optimiser(Options):
    """How one network is updated. `momentum` is used by SGD alone."""

    kind: Literal["adam", "sgd"] = Field("adam", description="the rule of a step")
    lr: float = Field(1e-4, gt=0, description="learning rate at the start")
    momentum: float = Field(0.0, ge=0, lt=1, description="of SGD; Adam does not read it")
    weight_decay: float = Field(0.0, ge=0, description="times the weights, added to their gradients")


def check(schema: type[T], values: Any, where: str) -> T:
    """Validate `values`; a UserError names the place, the key, what was written and what is allowed, a line each."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        for detail in error.errors():
            cause = detail.get("ctx", {}).get("error")
            if isinstance(cause, ValueError) and not isinstance(cause, UserError):
                raise cause from None  # a bug in a validator
        raise UserError("\n".join(_line(where, schema, detail) for detail in error.errors())) from None


def _line(where: str, schema: type[BaseModel], detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    place = f"{where}: {key}" if key else where
    if detail["type"] == "extra_forbidden":
        return (
            f"{place}: there is no such option; allowed: {', '.join(_nested(schema, detail['loc'][:-1]).model_fields)}"
        )
    if detail["type"] == "missing":
        return f"{place}: is missing"
    if detail["type"] == "value_error":
        return f"{place}: {detail['msg'].removeprefix('Value error, ')}"
    return f"{place}: {_message(detail)}"


def _nested(schema: Any, path: tuple[str | int, ...]) -> Any:
    """The schema of a field, or of a mapping's values, at a path within another schema."""
    for part in path:
        schema = schema.model_fields[part].annotation if hasattr(schema, "model_fields") else get_args(schema)[-1]
        if isinstance(schema, UnionType):  # one that may be absent
            schema = next(each for each in get_args(schema) if each is not type(None))
    return schema


def _message(detail: Any) -> str:
    """What pydantic found, with YAML's words for types in place of Python's."""
    kind, written = detail["type"], f", not {_shorten(repr(detail['input']))}"
    if kind in ("too_short", "too_long"):
        most = kind == "too_long"
        number = detail["ctx"]["max_length" if most else "min_length"]
        entries = "entry" if number == 1 else "entries"
        return f"must have at {'most' if most else 'least'} {number} {entries}{written if detail['input'] else ''}"
    if kind in ("model_type", "dict_type"):
        return f"must be a mapping of keys{written}"
    return f"{'must be a list' if kind == 'tuple_type' else detail['msg']}{written}"


def _shorten(text: str) -> str:
    """The beginning of a long text: what was written may be a whole file."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
