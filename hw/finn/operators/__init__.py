"""FINN's operators in groups, one file each; ``OPERATORS`` of a file holds the functions that read and write them."""
