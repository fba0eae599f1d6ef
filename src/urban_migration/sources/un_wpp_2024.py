"""World Population Prospects 2024: population, natural increase and net migration of countries.

One row per location and calendar year, estimates to 2023 and the medium variant after (both say
``Variant`` Medium).  Population is in thousands at 1 July and read as persons; rates are per
1,000 population.  A blank is *not computed* (the last year of the file has 1 January figures
only).  Aggregates stand among the countries and are told apart by ``LocTypeName``.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from urban_migration.sources.grid import big_csv_grid, tidy
from urban_migration.sources.source import Download, Files, Source, SourceTable, Tables

INDICATORS = "WPP2024_Demographic_Indicators_Medium.csv.gz"
FOLDER = "https://population.un.org/wpp/assets/Excel%20Files/1_Indicator%20(Standard)/CSV_FILES/"

FIRST_PROJECTED_YEAR = 2024
COUNTRY = "Country/Area"
GROUPS = {
    "World",
    "Geographic region",
    "Subregion",
    "SDG region",
    "Development group",
    "Income group",
    "Special other",
}
AGGREGATE = "a region or group, not a country"
NO_FIGURE = "the publisher gives no figure at 1 July"

USED = {
    "population": "TPopulation1July",
    "natural_increase_per_1000": "NatChangeRT",
    "net_migration_per_1000": "CNMR",
}
OTHER_INDICATORS = """
    TPopulation1Jan TPopulationMale1July TPopulationFemale1July PopDensity PopSexRatio
    MedianAgePop NatChange PopChange PopGrowthRate DoublingTime Births BirthsMale BirthsFemale
    Births1519 CBR TFR NRR MAC SRB Deaths DeathsMale DeathsFemale CDR LEx LExMale LExFemale
    LE15 LE15Male LE15Female LE60 LE60Male LE60Female LE65 LE65Male LE65Female LE80 LE80Male
    LE80Female InfantDeaths IMR LBsurvivingAge1 Under5Deaths Q5 Q0040 Q0040Male Q0040Female
    Q0060 Q0060Male Q0060Female Q1550 Q1550Male Q1550Female Q1560 Q1560Male Q1560Female
    NetMigrations
""".split()

IGNORED = {
    **dict.fromkeys(
        ("SortOrder", "Notes", "SDMX_code", "LocTypeID", "ParentID", "VarID", "ISO2_code"),
        "LocID and LocTypeName identify the row",
    ),
    **dict.fromkeys(
        ("ISO3_code", "Location"), "LocID is the country's M49 code; names are taken from M49"
    ),
    **dict.fromkeys(OTHER_INDICATORS, "demographic indicator that is not published here"),
}

TABLES = {
    "indicators": SourceTable(
        columns={
            "location_code": "text",
            "year": "year",
            "population": "integer",
            "natural_increase_per_1000": "number",
            "net_migration_per_1000": "number",
        },
        key=("location_code", "year"),
        code=("location_code",),
        lands="""exists (
            select 1 from country_migration m join country_codes c using (country_iso3)
            where c.scheme = 'm49' and c.code = fact.location_code and m.year = fact.year
            and m.population = fact.population)""",
    )
}


def read(files: Files) -> Tables:
    """One row per location and calendar year; persons and rates per 1,000."""
    grid = big_csv_grid(
        INDICATORS,
        files[INDICATORS],
        text=["LocID", "LocTypeName", "Variant"],
        numbers=["Time", *USED.values()],
        ignore=IGNORED,
    )
    grid.one_of("Variant", {"Medium"}, "{} is not the medium variant")
    types = grid.one_of("LocTypeName", {COUNTRY, *GROUPS}, "unknown type of location {}")
    population = grid.integers(USED["population"], null=("",), scale=1000)
    no_figure = pc.if_else(population.is_null(), NO_FIGURE, None)
    reasons = pc.if_else(pc.equal(types, COUNTRY), no_figure, AGGREGATE)
    table = tidy(
        TABLES["indicators"],
        grid,
        {
            "location_code": grid.required_strings("LocID"),
            "year": grid.years("Time"),
            "population": population,
            **{
                name: pa.array(grid.numbers(USED[name], null=("",)), from_pandas=True)
                for name in ("natural_increase_per_1000", "net_migration_per_1000")
            },
        },
        ignored=reasons,
    )
    return {"indicators": table}


SOURCE = Source(
    id="un_wpp_2024",
    title="World Population Prospects 2024",
    publisher="United Nations, Department of Economic and Social Affairs, Population Division",
    licence="CC BY 3.0 IGO",
    licence_url="https://creativecommons.org/licenses/by/3.0/igo/",
    citation=(
        "United Nations, Department of Economic and Social Affairs, Population Division (2024). "
        "World Population Prospects 2024, Online Edition."
    ),
    homepage="https://population.un.org/wpp/",
    edition="2024",
    downloads=(Download(file=INDICATORS, url=FOLDER + INDICATORS, kind="csv.gz"),),
    tables=TABLES,
    read=read,
    required=True,
)
