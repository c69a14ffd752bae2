"""A search in which nothing may listen and Horovod may unpickle nothing: who tries ends the job."""

import os
import socketserver
import sys

from horovod.runner.common.util import codec

from hpcnas.search import main


def forbidden(what):
    def end(*arguments, **named):
        print(f"FORBIDDEN: {what}", file=sys.stderr, flush=True)
        os._exit(9)

    return end


socketserver.BaseServer.__init__ = forbidden("a server is started")
codec.loads_base64 = codec.cloudpickle.loads = forbidden("Horovod unpickles")
main()
