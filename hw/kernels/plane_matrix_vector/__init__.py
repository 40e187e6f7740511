"""``matrix_vector`` of wide operands in lookup tables, without multipliers."""
