"""Holds the documents against the repository: names exist, commands run, recipes can be followed."""
