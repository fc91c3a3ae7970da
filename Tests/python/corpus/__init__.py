"""Small models over all operators that the library executes, for judges to run: see test_corpus.py.

A family is a function that yields cases; its models are drawn from their names, so that they are the same in every run.
"""

from . import attention, drawn, elementwise, indexing, linear, other, sequence, spatial, weights
from .net import SAMPLES, Case, Net

FAMILIES = [f for m in (linear, elementwise, spatial, indexing, attention, sequence, weights, other, drawn) for f in m.FAMILIES]
CASES = [case for family in FAMILIES for case in family()]
