"""Language models that generate and train on one copy of their weights.

Import from the modules: `language_model` (the protocol and its records) and `loading` (`load_lm`).
"""
