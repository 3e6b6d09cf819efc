"""What coset shows: results, plans, runs and data as sentences, tables and pictures."""
