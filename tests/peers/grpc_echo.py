"""Both ends of gRPC by the package `grpcio`, messages as plain bytes: `grpc_echo.py serve HOST PORT`, and
`grpc_echo.py ask HOST:PORT [CA NAME]`, which calls in every way and exits with 0 when all went as it must."""

import sys
from concurrent import futures

import grpc

SERVICE = "ringgate.Echo"


def say(request, context):
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


def repeat(request, context):
    for _ in range(100):
        yield request


def chat(requests, context):
    for request in requests:
        yield request


def refuse(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you: %")


def wait(request, context):
    done = futures.Future()
    context.add_callback(lambda: done.set_result(None))
    done.result(60)
    return b""


def run_server(host, port):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    assert server.add_insecure_port(f"{host}:{port}")
    server.start()
    server.wait_for_termination()


def fails_with(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"{code} was expected")


def ask(channel):
    def method(kind, name):
        return getattr(channel, kind)(f"/{SERVICE}/{name}")

    for message in (b"", b"hello", b"x" * 1_000_000):
        answer, call = method("unary_unary", "Say").with_call(message, timeout=20)
        assert answer == message
        assert ("x-length", str(len(message))) in call.trailing_metadata()
    assert list(method("unary_stream", "Repeat")(b"r" * 10_000, timeout=20)) == [b"r" * 10_000] * 100
    words = [str(number).encode() for number in range(200)]
    assert list(method("stream_stream", "Chat")(iter(words), timeout=20)) == words
    error = fails_with(
        grpc.StatusCode.PERMISSION_DENIED, lambda: method("unary_unary", "Refuse")(b"", timeout=20)
    )
    assert error.details() == "not for you: %", error
    assert ("x-why", "because") in error.trailing_metadata()
    fails_with(
        grpc.StatusCode.UNIMPLEMENTED, lambda: method("unary_unary", "Nothing")(b"", timeout=20)
    )
    fails_with(
        grpc.StatusCode.DEADLINE_EXCEEDED, lambda: method("unary_unary", "Wait")(b"", timeout=0.3)
    )
    # Fifty calls at once on one connection.
    calls = [method("unary_unary", "Say").future(b"c", timeout=20) for _ in range(50)]
    assert [call.result() for call in calls] == [b"c"] * 50


if sys.argv[1] == "serve":
    run_server(*sys.argv[2:])
elif len(sys.argv) == 3:
    ask(grpc.insecure_channel(sys.argv[2]))
else:
    with open(sys.argv[3], "rb") as ca:
        credentials = grpc.ssl_channel_credentials(ca.read())
    options = [("grpc.ssl_target_name_override", sys.argv[4])]
    ask(grpc.secure_channel(sys.argv[2], credentials, options))
