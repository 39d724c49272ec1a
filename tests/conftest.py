"""What every test shares: property tests measure nothing, so a busy machine fails none of them."""

import contextlib

with contextlib.suppress(ModuleNotFoundError):  # the bench's environment has no hypothesis
    from hypothesis import settings

    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")
