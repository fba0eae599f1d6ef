-- One population series for the whole release (the variable `series`); migration and natural
-- increase come from their own editions, and what combines the two is modelled.
with
city_years as (select * from city_population where series = getvariable('series')),
nations as (select * from country_urbanization where series = getvariable('series')),
migration as (select * from country_migration),

five_years_of_increase as (
    select
        country_iso3,
        year,
        case
            when lag(year, 4) over years = year - 4
                then (
                    natural_increase_per_1000
                    + lag(natural_increase_per_1000, 1) over years
                    + lag(natural_increase_per_1000, 2) over years
                    + lag(natural_increase_per_1000, 3) over years
                    + lag(natural_increase_per_1000, 4) over years
                ) / 5 / 10
        end as natural_increase_pct
    from migration
    where natural_increase_per_1000 is not null
    window years as (partition by country_iso3 order by year)
),

growth as (
    select
        now.city_id,
        now.year,
        case
            when now.population > 0 and before.population > 0
                then 100 * ln(now.population / before.population) / 5
        end as population_growth_pct
    from city_years as now
    join city_years as before on before.city_id = now.city_id and before.year = now.year - 5
),

ranks as (
    select
        city_id,
        year,
        rank() over (
            partition by cities.country_iso3, year order by city_years.population desc
        ) as rank_in_country
    from city_years
    join cities using (city_id)
    where not getvariable('extract')
)

select
    city_id,
    year,
    cities.name as city_name,
    cities.country_iso3,
    countries.name as country_name,
    countries.region,
    cities.latitude,
    cities.longitude,
    city_years.population,
    city_years.status as population_status,
    city_years.series as population_series,
    growth.population_growth_pct,
    ranks.rank_in_country,
    case
        when nations.urban_population > 0
            then 100 * city_years.population / nations.urban_population
    end as urban_population_share_pct,
    nations.population as country_population,
    nations.urban_population as country_urban_population,
    nations.urban_pct as country_urban_pct,
    migration.migrant_stock as country_migrant_stock,
    migration.migrant_pct as country_migrant_pct,
    migration.refugees as country_refugees,
    migration.asylum_seekers as country_asylum_seekers,
    migration.idps as country_idps,
    increase.natural_increase_pct as country_natural_increase_pct,
    migration.net_migration_per_1000 as country_net_migration_per_1000,
    growth.population_growth_pct - increase.natural_increase_pct as implied_net_migration_pct,
    cast(null as bigint) as foreign_born,
    cast(null as double) as foreign_born_pct,
    cast(null as varchar) as foreign_born_concept,
    cast(null as varchar) as foreign_born_source_id,
    cast(null as varchar) as foreign_born_geography,
    cast(null as double) as foreign_born_estimate_pct,
    cast(null as double) as foreign_born_estimate_low_pct,
    cast(null as double) as foreign_born_estimate_high_pct
from city_years
join cities using (city_id)
join countries using (country_iso3)
left join nations using (country_iso3, year)
left join migration using (country_iso3, year)
left join five_years_of_increase as increase using (country_iso3, year)
left join growth using (city_id, year)
left join ranks using (city_id, year)
