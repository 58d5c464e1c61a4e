namespace Slipway.Contracts;

/// <summary>Why a request failed, as its caller sees it. The wire forms are chosen in the host's one exception handler.</summary>
public enum ErrorCode
{
    /// <summary>A field of the request is wrong; the message names it and the fix. HTTP 400.</summary>
    InvalidArgument,

    /// <summary>The named thing does not exist. HTTP 404.</summary>
    NotFound,

    /// <summary>The name is taken. HTTP 409 (MLflow routes: 400).</summary>
    AlreadyExists,

    /// <summary>The request is well-formed, but the present state forbids it, such as a refused gate. HTTP 409.</summary>
    FailedPrecondition,

    /// <summary>No or wrong credentials. HTTP 401.</summary>
    Unauthenticated,

    /// <summary>The caller's role does not allow it. HTTP 403.</summary>
    PermissionDenied,

    /// <summary>The body is over the configured limit. HTTP 413.</summary>
    TooLarge,

    /// <summary>A queue or quota is full; trying later may work. HTTP 429.</summary>
    ResourceExhausted,

    /// <summary>A dependency or model is not ready; trying later may work. HTTP 503.</summary>
    Unavailable,

    /// <summary>The path exists in the protocol but is not built here. HTTP 501.</summary>
    NotImplemented,
}

/// <summary>A failure whose message is meant for the caller: one sentence that says what was wrong and the way out.</summary>
public sealed class SlipwayException : Exception
{
    /// <summary>Creates the failure.</summary>
    public SlipwayException(ErrorCode code, string message) : base(message) => Code = code;

    /// <summary>Creates the failure with the fault that led to it; only <paramref name="message"/> reaches the caller.</summary>
    public SlipwayException(ErrorCode code, string message, Exception inner) : base(message, inner) => Code = code;

    /// <summary>The closed classification that decides status and exit code.</summary>
    public ErrorCode Code { get; }
}
