"""The histories of the users of some encoded ratings, made once."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from coset.data.encoded import Encoded
from coset.models.history import Histories

_made: WeakKeyDictionary[Encoded, dict[int, Histories]] = WeakKeyDictionary()


def histories(encoded: Encoded, most: int) -> Histories:
    """Which items each user rated in the training part; see `Histories.of`. Not to be changed.

    Args:
        encoded: the ratings.
        most: items of a user at most.
    """
    made = _made.setdefault(encoded, {})
    if most not in made:
        rows = encoded.split.training
        users, items = (of.numpy()[rows] for of in (encoded.users, encoded.items))
        made[most] = Histories.of(users, items, users_in_all=encoded.user.num_embeddings, most=most)
    return made[most]
