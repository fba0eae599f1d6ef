-- The registry's cities that today's files know.  A corrected coordinate holds only while the
-- publisher's cell is the one that was corrected.
with
registry as (select * from place_cities),
wup2018 as (select * from un_wup_2018.cities),
wup2025 as (select * from un_wup_2025.cities),
gazetteer as (select * from geonames.cities_as_read),
places_found as (  -- its own place, or that of a UN city of a file that is not here
    select matches.city_id, places.latitude, places.longitude
    from place_matches as matches
    join source_places as places using (source_id, source_code)
    where matches.city_id is not null
    qualify row_number() over (
        partition by matches.city_id
        order by
            matches.status <> 'own',
            places.latitude is null,
            matches.source_id,
            matches.source_code
    ) = 1
),
corrections as (
    select
        wup2018_code,
        cast(published_latitude as double) as published_latitude,
        cast(published_longitude as double) as published_longitude,
        cast(latitude as double) as latitude,
        cast(longitude as double) as longitude
    from place_coordinates
)

select
    registry.city_id,
    registry.name,
    registry.local_name,
    registry.country_iso3,
    coalesce(
        corrections.latitude,
        wup2018.latitude,
        wup2025.latitude,
        places_found.latitude,
        gazetteer.latitude
    ) as latitude,
    coalesce(
        corrections.longitude,
        wup2018.longitude,
        wup2025.longitude,
        places_found.longitude,
        gazetteer.longitude
    ) as longitude,
    corrections.latitude is not null as coordinates_corrected,
    coalesce(
        gazetteer.feature_code = 'PPLC' or wup2025.capital,
        gazetteer.feature_code = 'PPLC',
        wup2025.capital
    ) as is_capital,
    registry.kind,
    registry.wup2018_code,
    registry.wup2025_code,
    registry.urban_audit_code,
    registry.geonames_id
from registry
left join wup2018 on wup2018.city_code = registry.wup2018_code
left join wup2025 on wup2025.city_code = registry.wup2025_code
left join places_found using (city_id)
left join gazetteer on gazetteer.geonames_id = registry.geonames_id
left join corrections
    on corrections.wup2018_code = wup2018.city_code
    and corrections.published_latitude = wup2018.latitude
    and corrections.published_longitude = wup2018.longitude
where
    wup2018.city_code is not null
    or wup2025.city_code is not null
    or places_found.city_id is not null
