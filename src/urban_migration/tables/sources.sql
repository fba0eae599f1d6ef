select * from source_register  -- assembled by build: facts, files and row accounting
