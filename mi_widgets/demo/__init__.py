"""The embedded demo model's room: its small world (grammar), its trainer, its weights and what is known inside.

This file offers the prompts of that world, and pairs of them. It imports no torch; the model itself is the Hugging Face
folder at `WEIGHTS`. What trains and measures it is in the checkout alone, in no wheel.
"""

from pathlib import Path

from .grammar import TASKS, prompts
from .pairs import pairs
from .records import DemoPrompt

WEIGHTS = Path(__file__).parent / "weights"

__all__ = ["TASKS", "WEIGHTS", "DemoPrompt", "pairs", "prompts"]
