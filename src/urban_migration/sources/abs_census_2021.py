"""Australia's Census of 2021: country of birth in the Greater Capital City Statistical Areas.

General Community Profile, tables G01 (totals) and G09 (persons by country of birth, spread over
the members F, G and H).  Persons at their usual residence.  A blank is an error; zero is zero,
and the publisher perturbs small counts at random, so that the origins of a capital miss its
total by a dozen persons or less.  Who did not state a birthplace (239,283 in Sydney) is neither
born in Australia nor elsewhere: shares are taken of those who did.  England, Scotland and Wales
are added up; *Elsewhere* in G09 is every country without a column, Northern Ireland among them.
The files have codes only: names and countries stand in ``abs_census_2021.csv``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.errors import ReadError
from urban_migration.sources import city_tables
from urban_migration.sources.grid import Grid, csv_grid, reference_rows, tidy, zip_members
from urban_migration.sources.source import Download, Files, Source, Tables

ARCHIVE = "2021_GCP_GCCSA_for_AUS_short-header.zip"
TOTALS = "2021Census_G01_AUST_GCCSA.csv"
BIRTHPLACES = tuple(f"2021Census_G09{part}_AUST_GCCSA.csv" for part in "FGH")
OTHER_MEMBERS = re.compile(
    r"2021Census_G\d\d[A-Z]?_AUST_GCCSA\.csv"  # other topics; G09A to G09E are men and women
    r"|(Metadata_|2021Census_geog_desc_|2021_GCP_)[\w-]+\.xlsx|\w+_readme\.txt"
)
CODE = "GCCSA_CODE_2021"
YEAR = 2021

POPULATION, NATIVE_BORN, FOREIGN_BORN = (
    "Tot_P_P",
    "Birthplace_Australia_P",
    "Birthplace_Elsewhere_P",
)
TOPICS = """
    Tot_P Age_0_4_yr Age_5_14_yr Age_15_19_yr Age_20_24_yr Age_25_34_yr Age_35_44_yr Age_45_54_yr
    Age_55_64_yr Age_65_74_yr Age_75_84_yr Age_85ov Counted_Census_Night_home
    Count_Census_Nt_Ewhere_Aust Indigenous_psns_Aboriginal Indig_psns_Torres_Strait_Is
    Indig_Bth_Abor_Torres_St_Is Indigenous_P_Tot Birthplace_Australia Birthplace_Elsewhere
    Lang_used_home_Eng_only Lang_used_home_Oth_Lang Australian_citizen Age_psns_att_educ_inst_0_4
    Age_psns_att_educ_inst_5_14 Age_psns_att_edu_inst_15_19 Age_psns_att_edu_inst_20_24
    Age_psns_att_edu_inst_25_ov High_yr_schl_comp_Yr_12_eq High_yr_schl_comp_Yr_11_eq
    High_yr_schl_comp_Yr_10_eq High_yr_schl_comp_Yr_9_eq High_yr_schl_comp_Yr_8_belw
    High_yr_schl_comp_D_n_g_sch Count_psns_occ_priv_dwgs Count_Persons_other_dwgs
""".split()
AGES = "0_4 5_14 15_24 25_44 45_54 55_64 65_74 75_84 85ov Tot".split()

IGNORED_TOTALS = {
    f"{topic}_{sex}": "not about birthplace, or by sex" for topic in TOPICS for sex in "MFP"
}

TABLES = {
    "places": city_tables.places("abs_census_2021"),
    "migrants": city_tables.migrants("abs_census_2021"),
}


class Area(NamedTuple):
    """A statistical area; ``kind`` says what it is where it is no city."""

    name: str
    principal_city: str | None
    kind: str | None


def read(files: Files) -> Tables:
    """One row per area; persons born elsewhere per area, all and by country of birth."""
    rows = reference_rows(__file__)
    areas = {
        row["code"]: Area(row["name"], row["principal_city"] or None, row["note"] or None)
        for row in rows
        if row["kind"] == "area"
    }
    countries = {
        row["code"]: row["country_iso3"] or None for row in rows if row["kind"] == "birthplace"
    }
    contents = zip_members(files[ARCHIVE], [TOTALS, *BIRTHPLACES], OTHER_MEMBERS)
    used = [CODE, POPULATION, NATIVE_BORN, FOREIGN_BORN]
    totals = csv_grid(
        TOTALS,
        contents[TOTALS],
        use=used,
        ignore={name: why for name, why in IGNORED_TOTALS.items() if name not in used},
    )
    codes = totals.required_text(CODE)
    for index, code in enumerate(codes):
        if code not in areas:
            raise totals.error(f"unknown area {code!r}: add it to abs_census_2021.csv", index, CODE)
    births = _births(contents, countries, codes)
    known = [areas[code] for code in codes]
    return {
        "places": _places(totals, codes, known),
        "migrants": _migrants(totals, codes, known, births),
    }


class Birth(NamedTuple):
    """The figures of one country of birth, and where they stand."""

    origin: str
    persons: pa.Array
    column: str
    file: str


def _births(
    contents: dict[str, bytes], countries: dict[str, str | None], codes: Sequence[str]
) -> list[Birth]:
    """Persons by country of birth; the columns that make one country are added up."""
    ignore = {
        f"{sex}_{country}_{age}": "by age or sex, born in Australia, or not stated"
        for country in countries
        for age in AGES
        for sex in "MFP"
    }
    births: dict[str, Birth] = {}
    for member, columns in _columns(contents, countries).items():
        grid = csv_grid(
            member,
            contents[member],
            use=[CODE, *columns],
            ignore={name: why for name, why in ignore.items() if name not in columns},
        )
        if grid.required_text(CODE) != codes:
            raise ReadError(f"its areas are not those of {TOTALS}, row by row", file=member)
        for column, origin in columns.items():
            birth = Birth(origin, grid.integers(column), column, member)
            births[origin] = _joined(births[origin], birth) if origin in births else birth
    return list(births.values())


def _columns(
    contents: dict[str, bytes], countries: dict[str, str | None]
) -> dict[str, dict[str, str]]:
    """By member, which of its columns are the totals of which country of birth."""
    wanted = {f"P_{name}_Tot": origin for name, origin in countries.items() if origin is not None}
    found: dict[str, dict[str, str]] = {}
    for member in BIRTHPLACES:
        header = contents[member].partition(b"\n")[0].decode(errors="replace").strip().split(",")
        found[member] = {column: wanted.pop(column) for column in header if column in wanted}
    if wanted:
        column = next(iter(wanted))
        problem = "no member G09F, G09G or G09H has this column"
        raise ReadError(problem, file=BIRTHPLACES[-1], row=1, column=column)
    return found


def _joined(one: Birth, other: Birth) -> Birth:
    return Birth(
        one.origin,
        pc.add(one.persons, other.persons),
        f"{one.column} + {other.column}",
        one.file if other.file in one.file else f"{one.file} + {other.file}",
    )


def _places(grid: Grid, codes: Sequence[str], areas: Sequence[Area]) -> pa.Table:
    return tidy(
        TABLES["places"],
        grid,
        {
            "source_code": codes,
            "source_name": [area.name for area in areas],
            "principal_city": [area.principal_city for area in areas],
            "other_names": pa.nulls(len(codes), pa.string()),
            "country_scheme": ["iso3"] * len(codes),
            "country_code": ["AUS"] * len(codes),
            "latitude": pa.nulls(len(codes), pa.float64()),
            "longitude": pa.nulls(len(codes), pa.float64()),
            "population": grid.integers(POPULATION),
            "geography": [None if area.kind else "greater_city" for area in areas],
            "not_a_city": [area.kind for area in areas],
        },
    )


def _migrants(
    grid: Grid, codes: Sequence[str], areas: Sequence[Area], births: Sequence[Birth]
) -> pa.Table:
    population = grid.integers(POPULATION)
    born_elsewhere = grid.integers(FOREIGN_BORN)
    base = pc.add(grid.integers(NATIVE_BORN), born_elsewhere)
    ignored = [area.kind and f"not a city: {area.kind}" for area in areas]
    every = [Birth("all", born_elsewhere, FOREIGN_BORN, TOTALS), *births]
    return pa.concat_tables(
        tidy(
            TABLES["migrants"],
            dataclasses.replace(grid, file=birth.file),
            {
                "source_code": codes,
                "year": [YEAR] * len(codes),
                "concept": ["foreign_born"] * len(codes),
                "origin": [birth.origin] * len(codes),
                "migrants": birth.persons,
                "population": population,
                "base": base,
                "flag": pa.nulls(len(codes), pa.string()),
            },
            column=birth.column,
            ignored=ignored,
        )
        for birth in every
    )


SOURCE = Source(
    id="abs_census_2021",
    title="Census of Population and Housing 2021: General Community Profile, capital cities",
    publisher="Australian Bureau of Statistics",
    licence="CC BY 4.0",
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="Source: Australian Bureau of Statistics, 2021 Census of Population and Housing.",
    homepage="https://www.abs.gov.au/census/find-census-data/datapacks",
    edition="2021",
    downloads=(
        Download(
            file=ARCHIVE,
            url=f"https://www.abs.gov.au/census/find-census-data/datapacks/download/{ARCHIVE}",
            kind="zip",
        ),
    ),
    tables=TABLES,
    read=read,
)
