"""FINN's operators, one file a family: what reads its nodes beside what writes them (``OPERATORS`` of each)."""
