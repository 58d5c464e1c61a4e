namespace Slipway.Native.Onnx;

/// <summary>ONNX Runtime's error codes.</summary>
public enum OnnxErrorCode
{
#pragma warning disable CS1591 // The names are ONNX Runtime's own.
    Ok = 0,
    Fail = 1,
    InvalidArgument = 2,
    NoSuchFile = 3,
    NoModel = 4,
    EngineError = 5,
    RuntimeException = 6,
    InvalidProtobuf = 7,
    ModelLoaded = 8,
    NotImplemented = 9,
    InvalidGraph = 10,
    ExecutionProviderFail = 11,
#pragma warning restore CS1591
}

/// <summary>A model was refused or a run failed; the message is ONNX Runtime's own, or says why Slipway does not load the model.</summary>
public sealed class OnnxException : Exception
{
    /// <summary>An empty error.</summary>
    public OnnxException()
    {
    }

    /// <summary>An error with a message.</summary>
    public OnnxException(string message)
        : base(message)
    {
    }

    /// <summary>An error with a message and the failure beneath it.</summary>
    public OnnxException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>An error with ONNX Runtime's code and message.</summary>
    public OnnxException(OnnxErrorCode code, string message)
        : base(message) => Code = code;

    /// <summary>ONNX Runtime's code.</summary>
    public OnnxErrorCode Code { get; } = OnnxErrorCode.Fail;
}
