with
origins as (
    select
        destination.country_iso3 as destination_iso3,
        origin.country_iso3 as origin_iso3,
        pairs.year,
        pairs.migrants,
        pairs.migrants_female,
        pairs.migrants_male
    from un_migrant_stock_2024.origins as pairs
    join country_codes as destination
        on destination.scheme = 'm49' and destination.code = pairs.location_code
    join country_codes as origin
        on origin.scheme = 'm49' and origin.code = pairs.origin_code
),

by_sex as (
    select destination_iso3, origin_iso3, year, 'both' as sex, migrants from origins
    union all
    select destination_iso3, origin_iso3, year, 'female', migrants_female from origins
    union all
    select destination_iso3, origin_iso3, year, 'male', migrants_male from origins
)

select destination_iso3, origin_iso3, year, sex, migrants
from by_sex
where migrants is not null
