-- A negative number of survivors is no number of people.  Among the extract's cities the nearest
-- one would be wrong.
with
incidents as (select * from iom_missing_migrants.incidents),
nearest as (
    select * from city_distances where is_nearest and not getvariable('extract')
)

select
    incidents.incident_id,
    incidents.web_id,
    incidents.date,
    incidents.year,
    incidents.latitude,
    incidents.longitude,
    incidents.dead,
    incidents.missing,
    incidents.dead_and_missing,
    if(incidents.survivors < 0, null, incidents.survivors) as survivors,
    incidents.cause,
    incidents.route,
    incidents.location,
    incidents.country,
    incidents.region,
    incidents.coordinates_rounded,
    nearest.city_id as nearest_city_id,
    nearest.distance_km
from incidents
left join nearest using (incident_id)
