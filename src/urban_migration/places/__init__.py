"""Places: the countries, the registry of cities, and which city a publisher's row is about."""
