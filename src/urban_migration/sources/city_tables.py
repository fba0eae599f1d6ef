"""The tidy tables that every source of city figures fills, so that nothing else need know it.

A module that declares tables with these shapes takes part in matching, plausibility checks and
the published tables by that alone: ``places`` says which areas the publisher counts,
``migrants`` and ``populations`` what it counted there.
"""

from __future__ import annotations

from urban_migration.sources.source import SourceTable


def places(source_id: str) -> SourceTable:
    """One row per area of a publisher (its code, or its naming columns joined by ``|``).

    ``country_code`` is in ``country_scheme`` of ``country_codes`` (iso3, iso2, m49, or name for
    M49's English names); ``geography`` is one of city, greater_city, metropolitan,
    functional_urban_area, emirate, governorate, or null for what is no city at all (a camp, a
    province, a rest of state; ``not_a_city`` then says what it is); ``other_names`` holds names
    beside ``source_name``, joined by ``|``; coordinates and the latest ``population`` (persons)
    where the publisher has them; ``principal_city`` where the publisher's name is not the
    city's (Greater Sydney: Sydney).
    """
    return SourceTable(
        columns={
            "source_code": "text",
            "source_name": "text",
            "principal_city": "text",
            "other_names": "text",
            "country_scheme": "text",
            "country_code": "text",
            "latitude": "number",
            "longitude": "number",
            "population": "integer",
            "geography": "text",
            "not_a_city": "text",
        },
        key=("source_code",),
        code=("source_code",),
        lands=f"""exists (
            select 1 from city_crosswalk x
            where x.source_id = '{source_id}' and x.source_code = fact.source_code)""",
    )


def migrants(source_id: str) -> SourceTable:
    """One row per area, year, concept and origin: persons of one group.

    ``concept`` is foreign_born, foreign_citizen, immigrant, refugee, asylum_seeker, idp,
    stateless or other_of_concern; ``origin`` is ``all`` or an ISO 3166-1 alpha-3 code (see
    ``countries``); ``population`` is that of the same area and year in the same file and
    ``base`` the persons that a share is taken of (null: no share can be computed); ``flag`` is
    the publisher's (b break, e estimated, p provisional, ...), or null.
    """
    return SourceTable(
        columns={
            "source_code": "text",
            "year": "year",
            "concept": "text",
            "origin": "text",
            "migrants": "integer",
            "population": "integer",
            "base": "integer",
            "flag": "text",
        },
        key=("source_code", "year", "concept", "origin"),
        code=("source_code",),
        lands=f"""exists (
            select 1 from city_migrants m
            where m.source_id = '{source_id}' and m.source_code = fact.source_code
            and m.year = fact.year and m.concept = fact.concept and m.origin = fact.origin
            and m.migrants is not distinct from fact.migrants)""",
        unmatched=_unmatched(source_id),
    )


def populations(source_id: str) -> SourceTable:
    """One row per area and year: its population as the publisher counts it, persons."""
    return SourceTable(
        columns={
            "source_code": "text",
            "year": "year",
            "population": "integer",
            "flag": "text",
        },
        key=("source_code", "year"),
        code=("source_code",),
        lands=f"""exists (
            select 1 from city_official_population p
            where p.source_id = '{source_id}' and p.source_code = fact.source_code
            and p.year = fact.year and p.population = fact.population)""",
        unmatched=_unmatched(source_id),
    )


def _unmatched(source_id: str) -> str:
    return f"""exists (
            select 1 from city_crosswalk x
            where x.source_id = '{source_id}' and x.source_code = fact.source_code
            and x.city_id is null)"""


SHAPES = {"places": places(""), "migrants": migrants(""), "populations": populations("")}
"""The shapes by the name of the table."""
