select * from withheld  -- assembled by build: rows that a check kept back
