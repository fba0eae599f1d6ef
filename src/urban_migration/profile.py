"""One city on one screen: found by name, gathered from a release, put into lines of text.

``find`` forgives spelling and diacritics and lists the choices where a name is not enough;
``gather`` collects what the release says, each figure with its source; ``lines`` writes it down.
Nothing here computes a statistic.
"""

from __future__ import annotations

import difflib
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from urban_migration.catalogue import Opened, day
from urban_migration.errors import UsageError
from urban_migration.query import run

Row = dict[str, Any]

SHOWN: Final = 12
"""Choices that are listed where a name is ambiguous."""
ALIKE: Final = 0.8
"""How like a name must be (0 to 1) to be taken for a slip of the pen."""
BLOCKS: Final = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS: Final = "_.-:=+*#"
LABEL: Final = 13
STOCK_YEAR: Final = 2024
"""Last reference year of the migrant stock, and of the years that are estimated."""

REASONS: Final[Mapping[str, str]] = {
    "observed": "migrants were counted here in another year",
    "not_in_series": "the city is not in the release's population series",
    "year_outside_domain": "the year lies outside those with counted cities",
    "no_country_share": "the country has no migrant share in that year",
    "country_counts_citizens": "the country's migrant stock is of foreign citizens, not of birth",
    "country_share_outside_domain": "the country's share lies outside that of counted countries",
    "city_outweighs_domain": "the city is a larger part of its country than any counted city",
    "too_few_observations": "too few countries have counted cities in this release",
    "bundled_extract": "the bundled extract lacks the counted cities",
}
DEFINITIONS: Final[Mapping[str, str]] = {
    "B": "born abroad",
    "C": "foreign citizens",
    "I": "imputed",
    "R": "refugees added",
}
WORDS: Final[Mapping[str, str]] = {
    "foreign_born": "foreign-born",
    "immigrant": "immigrants",
    "foreign_citizen": "foreign citizens",
    "refugee": "refugees",
    "asylum_seeker": "asylum-seekers",
    "asylum_seekers": "asylum-seekers",
    "idp": "internally displaced people",
    "idps": "internally displaced people",
    "stateless": "stateless people",
}
KINDS: Final[Mapping[str, str]] = {
    "un_agglomeration": "urban agglomeration",
    "un_city_2025": "city of WUP 2025",
    "statistical_city": "city as its statistical office draws it",
}


# ------------------------------------------------------------------ which city


def find(opened: Opened, name: str) -> str:
    """The id of the one city that a name means.

    A name, local name or id in any spelling, with the country behind a comma where need be.
    Raises :class:`UsageError` with the choices, or with what is spelt nearly so.
    """
    cities = _rows(
        opened,
        "cities",
        """select city_id, cities.name, local_name, countries.name as country, country_iso3,
            country_iso2
        from cities join countries using (country_iso3) order by city_id""",
    )
    place, _, country = name.rpartition(",") if "," in name else (name, "", "")
    if country:
        inside = [city for city in cities if _in_country(city, country)]
        cities = inside or cities
    for found in (_named(cities, place), _beginning(cities, place), _like(cities, place)):
        if len(found) == 1:
            return str(found[0]["city_id"])
        if found:
            raise UsageError(_choices(name, found))
    raise UsageError(
        f"no city is called {name!r} in release {opened.id}. It may be a part of a larger one, or "
        "not be in the population series. The table cities lists those of a country."
    )


def plain(text: object) -> str:
    """Letters and digits only, without case and diacritics."""
    bare = unicodedata.normalize("NFKD", str(text or "").casefold())
    kept = "".join(c if c.isalnum() else " " for c in bare if not unicodedata.combining(c))
    return " ".join(kept.translate(_SPELT).split())


_SPELT: Final = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ß": "ss", "æ": "ae", "ı": "i"})


def _in_country(city: Row, country: str) -> bool:
    wanted = plain(country)
    wanted = {"uk": "gb"}.get(wanted, wanted)
    codes = {plain(city["country_iso3"]), plain(city["country_iso2"])}
    return wanted in codes or (len(wanted) > 3 and wanted in plain(city["country"]))


def _names(city: Row) -> set[str]:
    return {plain(city[key]) for key in ("city_id", "name", "local_name")} - {""}


def _named(cities: Sequence[Row], name: str) -> list[Row]:
    by_id = [city for city in cities if city["city_id"] == name.strip().lower()]
    return by_id or [city for city in cities if plain(name) in _names(city)]


def _beginning(cities: Sequence[Row], name: str) -> list[Row]:
    start = plain(name)
    return [c for c in cities if len(start) > 2 and any(n.startswith(start) for n in _names(c))]


def _like(cities: Sequence[Row], name: str) -> list[Row]:
    """Cities spelt nearly so; the nearest alone where nothing comes close to it."""
    known: dict[str, list[Row]] = {}
    for city in cities:
        for each in _names(city):
            known.setdefault(each, []).append(city)
    near = difflib.get_close_matches(plain(name), known, n=SHOWN, cutoff=ALIKE)
    found = {city["city_id"]: city for each in near for city in known[each]}
    return list(found.values())


def _choices(name: str, found: Sequence[Row]) -> str:
    shown = [f"  {c['city_id']:28}{c['name']}, {c['country']}" for c in found[:SHOWN]]
    more = [f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    head = f"{name!r} may be one of {len(found)} cities; name one by its id:"
    return "\n".join([head, *shown, *more])


# ------------------------------------------------------------------ what is known of it


def gather(opened: Opened, city_id: str) -> dict[str, Any]:
    """Everything that the release says of a city, as plain data."""
    here = f"where city_id = '{city_id}'"
    city = _rows(
        opened,
        "cities",
        f"""select cities.*, countries.name as country, countries.notes as country_notes
        from cities join countries using (country_iso3) {here}""",
    )[0]
    years = _rows(opened, "city_indicators", f"from city_indicators {here} order by year")
    population = [year for year in years if year["population"] is not None]
    observed = [year for year in years if year["foreign_born"] is not None]
    estimated = [year for year in years if year.get("foreign_born_estimate_pct") is not None]
    nearest = min(years, key=lambda year: abs(year["year"] - STOCK_YEAR), default={})
    found: dict[str, Any] = {
        "city": city,
        "population": population,
        "observed": observed[-1] if observed else None,
        "observed_first": next((y for y in observed if y["foreign_born_pct"] is not None), None),
        "estimate": estimated[-1] if estimated else None,
        "no_estimate": None if estimated else nearest.get("foreign_born_estimate_note"),
        "derived": _derived(opened, here, observed[-1]["year"]) if observed else {},
        "origins": _origins(opened, here),
        "displaced": _displaced(opened, here),
        "incidents": _incidents(opened, here),
        "country": _country(opened, str(city["country_iso3"])),
        "groups": _groups(opened, here),
        "claims": _rows(
            opened,
            "claims",
            f"""select document, statement, published_value, computed_value, unit, verdict
            from claims where contains(sql, '''{city_id}''') order by claim_id""",
        ),
    }
    found["sources"] = _sources(opened, found)
    return found


def _derived(opened: Opened, here: str, year: int) -> dict[str, float]:
    rows = _rows(
        opened,
        "indicator_values",
        f"select indicator_id, value from indicator_values {here} and year = {year}",
    )
    return {row["indicator_id"]: row["value"] for row in rows}


def _origins(opened: Opened, here: str) -> list[Row]:
    """Five largest countries of birth of the latest observation."""
    return _rows(
        opened,
        "city_top_origins",
        f"""from city_top_origins {here} and concept in ('foreign_born', 'immigrant')
        qualify dense_rank() over (order by year desc, concept, source_code) = 1
        order by rank""",
    )


def _displaced(opened: Opened, here: str) -> list[Row]:
    """The latest count of each displaced concept, and its largest origin."""
    return _rows(
        opened,
        "city_migrants",
        f"""
        with latest as (
            select concept, year, geography, source_id, source_code, migrants
            from city_migrants
            {here} and origin = 'all'
                and concept in ('refugee', 'asylum_seeker', 'idp', 'stateless')
            qualify row_number() over (
                partition by concept order by year desc, migrants desc, source_code
            ) = 1
        ),
        first_origins as (
            select concept, source_code, origin_name, share_pct, top.year
            from city_top_origins as top {here} and rank = 1
        )
        select latest.*, origin_name, share_pct
        from latest
        left join first_origins using (concept, source_code, year)
        where migrants > 0
        order by migrants desc""",
        "city_top_origins",
    )


def _incidents(opened: Opened, here: str) -> Row | None:
    rows = _rows(
        opened,
        "indicator_values",
        f"""select sum(value) as dead_and_missing, min(year) as first, max(year) as last
        from indicator_values {here} and indicator_id = 'dead_and_missing_100km'""",
    )
    return rows[0] if rows and rows[0]["dead_and_missing"] else None


def _country(opened: Opened, iso3: str) -> dict[str, Any]:
    """The country in the latest year of the migrant stock."""
    rows = _rows(
        opened,
        "country_migration",
        f"""select country_migration.*, urban_pct, series
        from country_migration
        left join country_urbanization using (country_iso3, year)
        where country_iso3 = '{iso3}' and migrant_stock_status = 'reported'
        order by year desc, series limit 1""",
    )
    return dict(rows[0]) if rows else {}


def _groups(opened: Opened, here: str) -> list[str]:
    groups = _rows(
        opened, "city_groups", f"select group_name from city_groups {here} order by group_id"
    )
    return [str(group["group_name"]) for group in groups]


def _sources(opened: Opened, found: Mapping[str, Any]) -> list[Row]:
    """The sources that the figures name, with edition and the day they were first had."""
    named = {year["population_series"] for year in found["population"]}
    named = {f"un_{name}".replace("wup", "wup_") if "wup" in name else name for name in named}
    if found["observed"]:
        named.add(found["observed"]["foreign_born_source_id"])
    named |= {row["source_id"] for row in (*found["origins"], *found["displaced"])}
    named |= {"un_migrant_stock_2024", "un_wpp_2024", "unhcr_population"}
    named |= {"iom_missing_migrants"} if found["incidents"] else set()
    listed = ", ".join(f"'{name}'" for name in sorted(named))
    return _rows(
        opened,
        "sources",
        f"""select source_id, title, publisher, edition, licence, first_seen
        from sources where source_id in ({listed}) order by source_id""",
    )


def _rows(opened: Opened, table: str, sql: str, *others: str) -> list[dict[str, Any]]:
    """The rows of a query; none where the release has no such table."""
    if not {table, *others} <= opened.tables.keys():
        return []
    result = run(opened.folder, sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows()]


# ------------------------------------------------------------------ how it reads


def lines(found: Mapping[str, Any], width: int = 100, blocks: str = BLOCKS) -> Iterator[str]:
    """The profile as lines no wider than ``width``."""
    city = found["city"]
    local = city["local_name"]
    local = f" ({local})" if local and plain(local) != plain(city["name"]) else ""
    yield f"{city['name']}{local}, {city['country']}"
    kind = [KINDS.get(str(city["kind"]), ""), "capital" if city["is_capital"] else ""]
    spot = [f"{city['latitude']:.2f}, {city['longitude']:.2f}"] if city["latitude"] else []
    yield " · ".join([str(city["city_id"]), *filter(None, kind), *spot])
    yield ""
    yield from _population_lines(found["population"], width, blocks)
    yield ""
    for label, text in _facts(found):
        yield from _wrapped(label, text, width)
    yield ""
    yield "Sources"
    for source in found["sources"]:
        seen = f"first had {day(source['first_seen'])}" if source["first_seen"] else "never had"
        title = str(source["title"])
        room = max(width - 24 - len(seen) - 2, 20)
        title = title if len(title) <= room else f"{title[: room - 4]} ..."
        yield f"{source['source_id']:24}{title}, {seen}"
    yield "Licences: urban-migration sources. Definitions: describe city_indicators."


def _population_lines(years: Sequence[Row], width: int, blocks: str) -> Iterator[str]:
    if not years:
        yield "Population   no population in this release"
        return
    chart = [year for year in years if year["year"] % 5 == 0] or list(years)
    top = max(year["population"] for year in chart) or 1
    bars = "".join(
        blocks[min(int(len(blocks) * year["population"] / top), len(blocks) - 1)] for year in chart
    )
    first, last = chart[0], chart[-1]
    yield (
        f"{'Population':{LABEL}}{first['year']} {_people(first['population'])}  {bars}  "
        f"{last['year']} {_people(last['population'])}   ({years[-1]['population_series']})"
    )
    wanted = {1990, 2000, 2010, 2015, 2020, 2025}
    shown = [year for year in years if year["year"] in wanted] or list(years)[-5:]
    table = list(_population_table(shown))
    while len(shown) > 1 and max(map(len, table)) > width:
        shown = shown[1:]
        table = list(_population_table(shown))
    yield from table
    if any(_sign(year) for year in shown):
        yield f"{'':{LABEL}}* projection; net migration over five years, modelled"


def _population_table(shown: Sequence[Row]) -> Iterator[str]:
    rows = [
        ["year", *[str(year["year"]) + _sign(year) for year in shown]],
        ["population", *[f"{year['population']:,}" for year in shown]],
        ["growth, % a year", *[_signed(year["population_growth_pct"]) for year in shown]],
        ["of it country's natural increase", *[_signed(_natural(year)) for year in shown]],
        ["implied net migration, persons", *[_persons(year) for year in shown]],
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        padded = "  ".join(cell.rjust(size) for cell, size in zip(cells, widths[1:], strict=True))
        yield f"{'':{LABEL}}{name:{widths[0]}}  {padded}".rstrip()


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Migrants", _migrants_text(found)
    beside = _beside_text(found["derived"])
    if beside:
        yield "", beside
    if found["origins"]:
        yield "Origins", _origins_text(found["origins"], found["derived"])
    for row in found["displaced"]:
        most = f", most from {row['origin_name']} ({row['share_pct']:.0f} %)"
        yield (
            "Displacement" if row is found["displaced"][0] else "",
            f"{row['migrants']:,} {_words(row['concept'])} in the {_words(row['geography'])}, "
            f"{row['year']}{most if row['origin_name'] else ''} [{row['source_id']}]",
        )
    if found["incidents"]:
        incidents = found["incidents"]
        count = incidents["dead_and_missing"]
        first, last = incidents["first"], incidents["last"]
        yield (
            "" if found["displaced"] else "Displacement",
            f"dead and missing migrants recorded within 100 km: {count:,.0f}, "
            f"{first if first == last else f'{first} to {last}'} [iom_missing_migrants]",
        )
    if found["country"]:
        yield "Country", _country_text(found["country"])
    if found["groups"]:
        yield "Groups", ", ".join(found["groups"])
    for claim in found["claims"]:
        computed = claim["computed_value"]
        here = "no count here" if computed is None else f"here {computed:g}"
        yield (
            "Claims" if claim is found["claims"][0] else "",
            f"{claim['statement']}: {here}, {_words(claim['verdict'])} [{claim['document']}]",
        )


def _migrants_text(found: Mapping[str, Any]) -> str:
    seen, guess = found["observed"], found["estimate"]
    if seen:
        share = seen["foreign_born_pct"]
        part = " (no population beside it)" if share is None else f", {share:.1f} % of its people"
        first = found["observed_first"]
        since = (
            f"; {first['foreign_born_pct']:.1f} % in {first['year']}"
            if share is not None and first and first["year"] < seen["year"]
            else ""
        )
        return (
            f"observed {seen['year']}: {seen['foreign_born']:,} "
            f"{_words(seen['foreign_born_concept'])}{part}{since}; "
            f"{_words(seen['foreign_born_geography'])} [{seen['foreign_born_source_id']}]"
        )
    if guess:
        untested = (
            "; no city of this region was counted, so the interval is untested here"
            if guess["foreign_born_estimate_note"] == "estimated_untested_region"
            else ""
        )
        return (
            f"estimated {guess['year']}: {guess['foreign_born_estimate_pct']:.1f} % foreign-born, "
            f"80 % interval {guess['foreign_born_estimate_low_pct']:.1f} to "
            f"{guess['foreign_born_estimate_high_pct']:.1f} %; nobody counted{untested} "
            "[modelled; un_migrant_stock_2024]"
        )
    why = REASONS.get(str(found["no_estimate"]), "this release has no estimate")
    return f"not counted by any source at hand; no estimate: {why}"


def _beside_text(derived: Mapping[str, float]) -> str:
    parts = []
    if "location_quotient" in derived:
        parts.append(f"{derived['location_quotient']:.2f} times the country's share")
    if "share_of_country_migrants_pct" in derived:
        parts.append(f"{derived['share_of_country_migrants_pct']:.1f} % of the country's migrants")
    if "foreign_born_pct_change_per_year" in derived:
        change = derived["foreign_born_pct_change_per_year"]
        parts.append(f"{change:+.2f} percentage points a year since the first count")
    return "; ".join(parts)


def _origins_text(origins: Sequence[Row], derived: Mapping[str, float]) -> str:
    first = origins[0]
    names = ", ".join(f"{row['origin_name']} {row['share_pct']:.1f} %" for row in origins)
    count = derived.get("origins_above_one_percent")
    spread = f"; {count:.0f} origins above 1 %" if count else ""
    return f"{names}{spread} ({_words(first['concept'])}, {first['year']}) [{first['source_id']}]"


def _country_text(country: Mapping[str, Any]) -> str:
    parts = []
    if country["migrant_stock"] is not None:
        letters = str(country["migrant_stock_definition"] or "").split()
        definition = ", ".join(DEFINITIONS[letter] for letter in letters if letter in DEFINITIONS)
        parts.append(
            f"{country['migrant_stock']:,} migrants, {country['migrant_pct']:.1f} % "
            f"({definition}) [un_migrant_stock_2024]"
        )
    if country.get("urban_pct") is not None:
        parts.append(f"{country['urban_pct']:.1f} % urban [{country['series']}]")
    parts += [
        f"{country[name]:,} {_words(name)} [unhcr_population]"
        for name in ("refugees", "asylum_seekers", "idps")
        if country[name]
    ]
    net = country["net_migration_per_1000"]
    if net is not None:
        parts.append(f"net migration {net:+.1f} per 1,000 [un_wpp_2024]")
    return f"{country['year']}: " + "; ".join(parts)


def _wrapped(label: str, text: str, width: int, indent: int = LABEL) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        max(width, indent + 30),
        initial_indent=f"{label:{indent}}",
        subsequent_indent=" " * indent,
        break_long_words=False,
    )


def _people(number: int) -> str:
    """A population as people write it."""
    if number >= 1_000_000:
        return f"{number / 1_000_000:.1f} million"
    return f"{number:,}"


def _signed(number: float | None) -> str:
    return "" if number is None else f"{number:+.2f}"


def _natural(year: Row) -> float | None:
    grown = year["population_growth_pct"] is not None
    return year["country_natural_increase_pct"] if grown else None


def _persons(year: Row) -> str:
    number = year.get("implied_net_migration_persons")
    return "" if number is None else f"{number:+,}"


def _sign(year: Row) -> str:
    return "*" if year["population_status"] == "projection" else ""


def _words(code: object) -> str:
    """A code of the tables as a reader says it."""
    return WORDS.get(str(code), str(code).replace("_", " "))
