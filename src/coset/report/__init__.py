"""What is shown: results, plans, runs and data in words, tables and pictures."""
