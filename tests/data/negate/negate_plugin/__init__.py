"""A package that adds the operator ``test.domain::Negate`` to bitfabric: its kernel and its handler."""
