"""An inference server that compresses its model when it starts and again from the requests it answers.

The server is kserve's, unmodified; planning and quantizing are libcet's, in this process; inference is onnxruntime's.
"""

import os

# onnxruntime 1.32 would keep an identifier and a database of usage in the home folder and send them. It reads this when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
