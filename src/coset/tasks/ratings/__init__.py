"""Ratings: matrix factorisation with tables of users and items."""

from coset.tasks.ratings.fingerprint import fingerprint
from coset.tasks.ratings.parts import Interactions, RatingsPart
from coset.tasks.ratings.task import RatingsTask

__all__ = ["Interactions", "RatingsPart", "RatingsTask", "fingerprint"]
