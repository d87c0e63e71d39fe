"""stub: to come."""
