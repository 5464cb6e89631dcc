"""``python -m unfrag``."""

from unfrag.cli import main

raise SystemExit(main())
