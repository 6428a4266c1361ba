"""Characters for random texts."""

from hypothesis import strategies as st

any_character = st.characters(exclude_categories=["Cs"])
"""Whatever UTF-8 can hold. Asked by its codec, hypothesis tries to encode each, which takes 2 s."""
