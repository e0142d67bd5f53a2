"""What arguments are called on the command line: messages of the package name them as Python does."""

from __future__ import annotations

#: Words of messages, and what stands for them where options are meant.
OPTIONS = {
    "offline asks nobody: refresh and recent rows": "--offline asks nobody: --refresh and --recent",
    "parallel must lie": "--parallel must lie",
    "hosts must name": "--host must name",
    "impact.mark moves": "--mark-impact moves",
    "say exogenous=True": "say --exogenous",
    "start and end leave no bars": "--from and --until leave no bars",
    "impact participation": "--participation",
    "impact square_root": "--square-root-impact",
    "trace must be": "--trace must be",
    "(trigger_price, fill_price or stop_trigger)": "(--trigger-price, --fill-price or the venue's rules)",
    "(leverage_limit cap)": "(--leverage-limit cap)",
    "(leverage_limit filter)": "(--leverage-limit filter)",
}


def told(message: str) -> str:
    """Return a message with arguments named as the options that set them."""
    for words, option in OPTIONS.items():
        message = message.replace(words, option)
    return message
