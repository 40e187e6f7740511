"""``python worker.py BYTES SECONDS``: infers the shapes of ONNX models that arrive on its standard input.

A byte says that it has started. A question is 8 bytes with the length of a serialised model, and the model. The answer
is a byte (0: done, 1: refused), 8 bytes with a length, and the model with its shapes, or the reason. It imports nothing
but ONNX.
"""

import resource
import sys

import onnx

READY = b"\0"
"""Written once, when the process can answer. How long its start takes depends on the machine."""


def main(most_bytes: int, seconds: int) -> None:
    """Answer until the standard input ends. The process has bounded memory, and a bounded time for each question."""
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(READY)
    answers.flush()
    while head := questions.read(8):
        model = questions.read(int.from_bytes(head, "little"))
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        try:
            inferred = onnx.shape_inference.infer_shapes(onnx.ModelProto.FromString(model), strict_mode=True)
            status, answer = b"\0", inferred.SerializeToString()
        except Exception as error:
            status, answer = b"\1", str(error).encode()
        answers.write(status + len(answer).to_bytes(8, "little") + answer)
        answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
