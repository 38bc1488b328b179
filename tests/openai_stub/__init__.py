"""An OpenAI-compatible model over real HTTP, whose text, pace, faults and holds the test commands.

`python -m tests.openai_stub --port 0` prints `listening PORT`; `ModelStub` runs that in a process of its own.
"""

from tests.openai_stub.model import Call, Fault, State, fingerprint, tokens_of
from tests.openai_stub.process import ModelStub

__all__ = ["Call", "Fault", "ModelStub", "State", "fingerprint", "tokens_of"]
