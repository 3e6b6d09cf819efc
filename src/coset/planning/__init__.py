"""Planning: from a byte budget to a method for every table."""
