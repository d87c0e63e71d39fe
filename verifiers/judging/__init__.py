"""Judges programs: expected values never enter the process that holds the candidate's code."""
