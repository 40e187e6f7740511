"""Operator by operator, what can be read: small models of each, their results, and the page of the documentation."""
