"""The bridge on two real chains and a real Postgres, its roles as plain classes that die."""
