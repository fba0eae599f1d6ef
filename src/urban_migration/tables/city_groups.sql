-- Groups that a document names stand in places/city_groups.csv; the others follow from the figures.
with
reviewed as (select * from place_city_groups),
estimates as (
    select city_id, series, year, population
    from city_population
    where series = getvariable('series') and status = 'estimate'
),
latest as (select * from estimates where year = (select max(year) from estimates)),

largest as (
    select
        'largest_20' as group_id,
        'The 20 largest cities of the series' as group_name,
        city_id,
        format('population in {}, the last year estimated in series {}', year, series) as document
    from latest
    qualify row_number() over (order by population desc, city_id) <= 20
),
capitals as (
    select
        'capitals',
        'Capitals',
        city_id,
        'GeoNames (feature code PPLC) or World Urbanization Prospects 2025 (Capital)'
    from cities
    where is_capital
)

select group_id, group_name, city_id, document
from reviewed
semi join cities using (city_id)
union all
select * from largest
union all
select * from capitals
