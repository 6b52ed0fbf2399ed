"""Sessions: one file per runtime that runs what the runtime made, and needs no more than is needed for that."""

from slimfront.objectives.sessions.session import SESSIONS, Session

__all__ = ["SESSIONS", "Session"]
