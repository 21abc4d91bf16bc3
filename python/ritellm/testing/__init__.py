"""What programs that use RiteLLM are tested with: a server that stands for every provider, and
recorded calls that are played again.

>>> import ritellm
>>> from ritellm.testing import MockServer
>>> with MockServer() as server:
...     server.reply("Hello!")
...     response = ritellm.completion("openai/gpt-4o-mini", [{"role": "user", "content": "Hi"}])
>>> response.choices[0].message.content
'Hello!'
>>> server.requests[0].json["messages"]
[{'role': 'user', 'content': 'Hi'}]

Nothing of this is imported unless a program imports it.
"""

from ritellm.testing._cassette import Cassette, cassette
from ritellm.testing._mock import MockRequest, MockServer

__all__ = ["Cassette", "MockRequest", "MockServer", "cassette"]
