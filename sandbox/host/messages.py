"""Records that stand where the worker runtime expects protobuf messages; they hold, never act.

The runtime takes its message classes from its caller and uses little of protobuf: keyword
construction, attributes, a few constants and `WhichOneof`. None means "not set".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    # Class attributes below bear protobuf's names, which hide the builtins of the same name.
    Bytes = bytes
    Int = int


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedData:
    """One value on its way to or from a function; at most one field is set."""

    string: str | None = None
    json: str | None = None
    bytes: Bytes | None = None
    http: RpcHttp | None = None
    int: Int | None = None
    double: float | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Tell which field is set, as protobuf does."""
        return next((name for name in self.__slots__ if getattr(self, name) is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcHttp:
    """An HTTP request, or an HTTP response when `status_code` is set."""

    method: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: TypedData = field(default_factory=TypedData)
    status_code: str = ""
    cookies: list[RpcHttpCookie] | None = None
    enable_content_negotiation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nullable:
    """A value that may be absent (protobuf's NullableString, NullableBool, ...)."""

    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """A moment in Unix seconds."""

    seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcHttpCookie:
    """A Set-Cookie header in parts."""

    SameSite: ClassVar[SimpleNamespace] = SimpleNamespace(
        **{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3},
    )
    name: str = ""
    value: str = ""
    domain: Nullable | None = None
    path: Nullable | None = None
    expires: Nullable | None = None
    secure: Nullable | None = None
    http_only: Nullable | None = None
    same_site: int = 0
    max_age: Nullable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterBinding:
    """A named value: a trigger's payload going in, an output binding's value coming out."""

    name: str = ""
    data: TypedData | None = None

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Tell which field is set: only `data` is ever used here."""
        return None if self.data is None else "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcException:
    """What a function, or the indexing of the app, raised."""

    message: str = ""
    stack_trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusResult:
    """How one call of the runtime ended."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1
    Cancelled: ClassVar[int] = 2
    status: int = Failure
    exception: RpcException = field(default_factory=RpcException)


class BindingInfo(SimpleNamespace):
    """A binding as the runtime summarises it; only its constants matter here."""

    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2
    undefined: ClassVar[int] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcRetryOptions:
    """A function's retry policy."""

    max_retry_count: int = 0
    retry_strategy: str = ""
    delay_interval: timedelta | None = None
    minimum_interval: timedelta | None = None
    maximum_interval: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcFunctionMetadata:
    """One function as the runtime indexed it."""

    name: str
    function_id: str
    raw_bindings: list[str]
    retry_options: RpcRetryOptions | None = None
    bindings: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""
    script_file: str = ""
    entry_point: str = ""
    language: str = ""
    is_proxy: bool = False
    managed_dependency_enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMetadata:
    """Which runtime answered."""

    runtime_name: str = ""
    runtime_version: str = ""
    worker_version: str = ""
    worker_bitness: str = ""
    custom_properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInitRequest:
    """Asks the runtime to import the app and index its functions."""

    function_app_directory: str
    capabilities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInitResponse:
    """How indexing ended, and what the runtime can do."""

    capabilities: Mapping[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsMetadataRequest:
    """Asks for the indexed functions."""

    function_app_directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMetadataResponse:
    """The indexed functions; None when the app has no v2 script file."""

    use_default_metadata_indexing: bool
    function_metadata_results: list[RpcFunctionMetadata] | None
    result: StatusResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionLoadRequest:
    """Asks the runtime to make one function ready."""

    function_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionLoadResponse:
    """How loading one function ended."""

    function_id: str
    result: StatusResult


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """The W3C trace an invocation belongs to."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryContext:
    """Which try this is; this host makes every invocation a first try."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: RpcException = field(default_factory=RpcException)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationRequest:
    """Asks the runtime to run one function once."""

    invocation_id: str
    function_id: str
    input_data: list[ParameterBinding]
    trigger_metadata: Mapping[str, TypedData] = field(default_factory=dict)
    trace_context: TraceContext = field(default_factory=TraceContext)
    retry_context: RetryContext = field(default_factory=RetryContext)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationResponse:
    """What one run returned, set on its outputs, or raised."""

    invocation_id: str
    result: StatusResult
    return_value: TypedData | None = None
    output_data: list[ParameterBinding] = field(default_factory=list)


PROTOS = SimpleNamespace(
    BindingInfo=BindingInfo,
    FunctionLoadResponse=FunctionLoadResponse,
    FunctionMetadataResponse=FunctionMetadataResponse,
    InvocationResponse=InvocationResponse,
    NullableBool=Nullable,
    NullableDouble=Nullable,
    NullableString=Nullable,
    NullableTimestamp=Nullable,
    ParameterBinding=ParameterBinding,
    RpcException=RpcException,
    RpcFunctionMetadata=RpcFunctionMetadata,
    RpcHttp=RpcHttp,
    RpcHttpCookie=RpcHttpCookie,
    RpcRetryOptions=RpcRetryOptions,
    StatusResult=StatusResult,
    Timestamp=Timestamp,
    TypedData=TypedData,
    WorkerInitResponse=WorkerInitResponse,
    WorkerMetadata=WorkerMetadata,
)
