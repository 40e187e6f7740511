"""``matrix_vector`` whose weight memory holds the places of weights in a list of the different ones."""
