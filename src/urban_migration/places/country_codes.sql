-- One row per scheme and code: which country a publisher's code means.
-- Schemes: m49 (numbers without leading zeros), iso3 (ISO 3166-1 alpha-3, and what UNHCR and IDMC
-- write in its place), iso2, and name (M49's English names).
with
m49 as (select m49, iso2, iso3, name from un_m49.countries),
territories as (select * from place_countries where name is not null),
exceptions as (select scheme, code, country_iso3 from place_country_codes)

select 'm49' as scheme, ltrim(m49, '0') as code, iso3 as country_iso3 from m49
union all
select 'iso3', iso3, iso3 from m49
union all
select 'iso2', iso2, iso3 from m49 where iso2 is not null
union all
select 'name', name, iso3 from m49
union all
select 'm49', country_m49, country_iso3 from territories where country_m49 is not null
union all
select 'iso3', country_iso3, country_iso3 from territories
union all
select 'iso2', country_iso2, country_iso3 from territories where country_iso2 is not null
union all
select 'name', name, country_iso3 from territories
union all
select scheme, code, country_iso3 from exceptions
