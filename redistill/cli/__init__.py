"""The command ``redistill``."""

from redistill.console import endings

endings.quiet_interrupts()
