"""Prices of models, from a small file of the user's: a built-in table would be wrong before long."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from graph.usage import Cost, Spent

MILLION = 1_000_000
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PricesUnusable(Exception):
    """The file of prices cannot be used; the message says why."""


class Price(BaseModel):
    """What a million tokens cost that go in, or come out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Amount
    output: Amount


class Prices(BaseModel):
    """The prices of models by their names as `RESEARCH_MODEL` writes them, in one currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^\S{1,8}$")] = "USD"
    models: dict[str, Price] = Field(default_factory=dict)

    def cost_of(self, rows: Iterable[Spent]) -> Cost:
        """What `rows` cost; models without a price are named, unless they cost nothing."""
        amount, unpriced = 0.0, dict[str, None]()
        for row in rows:
            price = self.models.get(row["model"])
            if price is not None:
                amount += (row["input_tokens"] * price.input + row["output_tokens"] * price.output) / MILLION
            elif row["model"] != "offline":
                unpriced[row["model"]] = None
        return {"amount": round(amount, 6), "currency": self.currency, "unpriced": list(unpriced)}


def read_prices(path: Path) -> Prices:
    """The prices in the TOML file at `path`. Raises `PricesUnusable`."""
    try:
        return Prices.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise PricesUnusable(f"{path} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PricesUnusable(f"{path} is not TOML ({error}).") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PricesUnusable(f"{path}: {place}: {first['msg']}.") from error
