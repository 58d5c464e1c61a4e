namespace Slipway.Contracts.Tracking;

/// <summary>How MLflow names each failure, and with which status: the table of <c>mlflow/exceptions.py</c>.</summary>
public static class MlflowErrorCodes
{
    /// <summary>The name and the HTTP status of a failure. A taken name is 400 here, not 409: MLflow's clients rely on it.</summary>
    public static (string Name, int Status) Of(ErrorCode code) => code switch
    {
        ErrorCode.InvalidArgument => ("INVALID_PARAMETER_VALUE", 400),
        ErrorCode.NotFound => ("RESOURCE_DOES_NOT_EXIST", 404),
        ErrorCode.AlreadyExists => ("RESOURCE_ALREADY_EXISTS", 400),
        ErrorCode.FailedPrecondition => ("RESOURCE_CONFLICT", 409),
        ErrorCode.Unauthenticated => ("UNAUTHENTICATED", 401),
        ErrorCode.PermissionDenied => ("PERMISSION_DENIED", 403),
        // MLflow has no name of its own for this; the status is HTTP's.
        ErrorCode.TooLarge => ("INVALID_PARAMETER_VALUE", 413),
        ErrorCode.ResourceExhausted => ("RESOURCE_EXHAUSTED", 429),
        ErrorCode.Unavailable => ("TEMPORARILY_UNAVAILABLE", 503),
        ErrorCode.NotImplemented => ("NOT_IMPLEMENTED", 501),
        _ => ("INTERNAL_ERROR", 500),
    };
}
