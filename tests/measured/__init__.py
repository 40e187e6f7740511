"""What synthesis and place and route made of designs: reference data of the tests, measured by ``benchmarks``."""
