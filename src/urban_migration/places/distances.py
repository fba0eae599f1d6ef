"""How far incidents lie from cities: points of two relations in, one relation of pairs out.

Distances are great circles on a sphere; both ends are points, so that a city has no extent. A
k-d tree of unit vectors finds neighbours without comparing all pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Values = npt.NDArray[Any]

EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""
WITHIN_KM = 100.0


def make(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """One row per incident and city within 100 km of it, and one for the nearest city of each.

    Incidents and cities without a place have no row.
    """
    incidents, at = _points(con, "incident_id", "iom_missing_migrants.incidents")
    cities, of = _points(con, "city_id", "cities")
    pairs = neighbours(at, of, WITHIN_KM)
    return _table(incidents, cities, *pairs)


def neighbours(
    points: Values, others: Values, within_km: float
) -> tuple[Values, Values, Values, Values]:
    """Pairs of rows of two arrays of degrees (latitude, longitude), sorted.

    Indices of the point and of the other, kilometres, and whether the other is the nearest one
    (of several at one distance, one of them).
    """
    if not len(points) or not len(others):
        none = np.empty(0, np.int64)
        return none, none, np.empty(0), np.empty(0, bool)
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]  # 0.3 s, seldom needed

    here, there = cKDTree(_vectors(points)), cKDTree(_vectors(others))
    chords, nearest = there.query(here.data)
    reach = 2 * np.sin(within_km / EARTH_KM / 2)
    around = here.sparse_distance_matrix(there, reach, output_type="ndarray")
    every = np.concatenate([np.arange(len(points)) * len(others) + nearest, _keys(around, others)])
    every, first = np.unique(every, return_index=True)
    rows, columns = np.divmod(every, len(others))
    lengths = np.concatenate([chords, around["v"]])[first]
    km = np.round(2 * EARTH_KM * np.arcsin(np.minimum(lengths / 2, 1)), 3)
    return rows, columns, km, nearest[rows] == columns


def _keys(pairs: Values, others: Values) -> Values:
    """One number for each pair."""
    keys: Values = pairs["i"].astype(np.int64) * len(others) + pairs["j"]
    return keys


def _vectors(degrees: Values) -> Values:
    """Points on the unit sphere."""
    latitude, longitude = np.radians(degrees).T
    level = np.cos(latitude)
    return np.column_stack([level * np.cos(longitude), level * np.sin(longitude), np.sin(latitude)])


def _points(con: duckdb.DuckDBPyConnection, key: str, relation: str) -> tuple[pa.Array, Values]:
    """Ids in their order, and their latitudes and longitudes."""
    located = con.sql(
        f"select {key}, latitude, longitude from {relation} "
        f"where latitude is not null and longitude is not null order by {key}"
    ).to_arrow_table()
    axes = [located[name].to_numpy() for name in ("latitude", "longitude")]
    return located[key].combine_chunks(), np.column_stack(axes)


def _table(
    incidents: pa.Array, cities: pa.Array, rows: Values, columns: Values, km: Values, near: Values
) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "incident_id": incidents.take(pa.array(rows)).cast(pa.string()),
            "city_id": cities.take(pa.array(columns)).cast(pa.string()),
            "distance_km": pa.array(km, pa.float64()),
            "is_nearest": pa.array(near, pa.bool_()),
        }
    )
