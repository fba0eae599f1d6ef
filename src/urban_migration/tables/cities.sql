-- A corrected coordinate holds only while the publisher's cell is the one that was corrected.
with
registry as (select * from place_cities),
wup2018 as (select * from un_wup_2018.cities),
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
    coalesce(corrections.latitude, wup2018.latitude) as latitude,
    coalesce(corrections.longitude, wup2018.longitude) as longitude,
    corrections.latitude is not null as coordinates_corrected,
    cast(null as boolean) as is_capital,
    registry.kind,
    registry.wup2018_code,
    registry.wup2025_code,
    registry.urban_audit_code,
    registry.geonames_id
from registry
join wup2018 on wup2018.city_code = registry.wup2018_code
left join corrections
    on corrections.wup2018_code = wup2018.city_code
    and corrections.published_latitude = wup2018.latitude
    and corrections.published_longitude = wup2018.longitude
