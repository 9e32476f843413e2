"""What is to let: ``apartments.toml`` in the agent's folder, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.prompts import zone
from relay.errors import ConfigError

ApartmentType = Literal["studio", "one-bedroom", "two-bedroom", "three-bedroom"]
TourType = Literal["in-person", "self-guided"]
InquiryType = Literal["pet policy", "fees", "parking", "specials", "income requirements", "utilities", "location"]

APARTMENT_TYPES: tuple[ApartmentType, ...] = get_args(ApartmentType)
TOUR_TYPES: tuple[TourType, ...] = get_args(TourType)

Text = Annotated[str, Field(min_length=1)]
Dollars = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(_Table):
    """A text in both languages."""

    en: Text
    es: Text

    def of(self, language: str) -> str:
        return self.es if language == "es" else self.en


class Features(_Table):
    en: Annotated[tuple[Text, ...], Field(min_length=1)]
    es: Annotated[tuple[Text, ...], Field(min_length=1)]

    def of(self, language: str) -> tuple[str, ...]:
        return self.es if language == "es" else self.en


class MoveIn(_Table):
    """``day`` 0: at once; else the next such day of a month, ``months`` later still."""

    day: int = Field(ge=0, le=28)  # every month has it
    months: int = Field(default=0, ge=0, le=24)

    def after(self, today: date) -> date:
        """The first day it can be moved into; never before today."""
        if not self.day:
            return today
        found = today
        while found.day != self.day:
            found += timedelta(1)
        months = found.year * 12 + found.month - 1 + self.months
        return date(months // 12, months % 12 + 1, self.day)


class Layout(_Table):
    square_feet: int = Field(gt=0)
    rent: Dollars
    application_fee: Dollars
    security_deposit: Dollars
    move_in: MoveIn
    features: Features
    pet_policy: Words
    parking: Words
    specials: Words
    income_requirements: Words
    utilities: Words


class Location(_Table):
    street: Text
    city: Text
    state: Text
    zip_code: Text

    def __str__(self) -> str:
        return f"{self.street}, {self.city}, {self.state} {self.zip_code}"


class _File(_Table):
    name: Text
    timezone: Text
    location: Location
    layouts: dict[ApartmentType, Layout] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Listings:
    """One house. ``layouts``: in the order in which they are told."""

    name: str
    zone: tzinfo
    location: Location
    layouts: Mapping[ApartmentType, Layout]


def read_listings(file: Path) -> Listings:
    """Raises ConfigError with everything that is wrong in the file."""
    try:
        read = _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8-sig")))
        where = zone(read.timezone)
    except OSError as error:
        raise ConfigError([f"{file} cannot be read: {type(error).__name__}."]) from error
    except ValidationError as error:
        problems = [f"{file}: {'.'.join(map(str, each['loc']))}: {each['msg']}." for each in error.errors()]
        raise ConfigError(problems) from error
    except (KeyError, ValueError) as error:  # TOML and text that cannot be decoded are both the latter
        raise ConfigError([f"{file}: {error}."]) from error
    layouts = {each: read.layouts[each] for each in APARTMENT_TYPES if each in read.layouts}
    return Listings(read.name, where, read.location, layouts)


__all__ = [
    "APARTMENT_TYPES",
    "TOUR_TYPES",
    "ApartmentType",
    "InquiryType",
    "Layout",
    "Listings",
    "TourType",
    "read_listings",
]
