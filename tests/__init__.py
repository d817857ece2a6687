"""The test suite. It mirrors the source, one package a folder."""
