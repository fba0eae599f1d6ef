with
m49 as (select * from un_m49.countries),
reviewed as (select * from place_countries),
territories as (select * from reviewed where name is not null),

listed as (
    select
        m49.iso3 as country_iso3,
        cast(m49.m49 as integer) as country_m49,
        m49.iso2 as country_iso2,
        m49.name,
        m49.region,
        m49.subregion,
        reviewed.notes
    from m49
    left join reviewed on reviewed.country_iso3 = m49.iso3
),

added as (
    select
        country_iso3,
        cast(country_m49 as integer) as country_m49,
        country_iso2,
        name,
        region,
        subregion,
        notes
    from territories
)

select * from listed
union all
select * from added
