select * from claims_computed
