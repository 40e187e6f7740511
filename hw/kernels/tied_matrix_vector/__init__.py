"""``matrix_vector`` whose weight memory holds what repeats once."""
